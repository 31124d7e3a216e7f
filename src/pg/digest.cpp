#include "pg/digest.hpp"

#include "core/json_text.hpp"
#include "destinations/message.hpp"
#include "pg/change_scan.hpp"
#include "pg/fault.hpp"
#include "pg/jobs.hpp"

namespace courier::pg {

namespace {

constexpr std::uint32_t chunk_blocks = 2048; // 16 MB of changes in a transaction, about 100,000 narrow ones
constexpr std::int64_t sample_bytes = 2 << 20; // of each kind; one sample stands there in any case
constexpr std::int64_t log_bytes = 2 << 20;    // what is copied into logs at a time
constexpr Change kinds[] = {Change::added, Change::changed, Change::removed};

std::string sample(Change change, const Rows &rows, std::size_t row) {
	return "{\"change\":" + json_string(to_text(change)) + ",\"key\":" + std::string(rows.text(row, 0)) +
	       ",\"previous\":" + (rows.is_null(row, 1) ? std::string("null") : std::string(rows.text(row, 1))) +
	       ",\"record\":" + std::string(rows.text(row, 2)) + "}";
}

// What became of the digest, written for everything that it told of.
class WholeRun {
public:
	WholeRun(const RunDefinition &run, Settlement &settlement, const Settled &digest)
	    : run_(run), settlement_(settlement), digest_(digest),
	      good_(digest.outcome == Outcome::succeeded || digest.outcome == Outcome::skipped) {}

	void settle(std::uint64_t requests) {
		auto blocks = count_blocks();
		for (std::uint32_t from = 0; from < blocks; from += chunk_blocks) {
			Transaction transaction;
			{
				Spi spi;
				settle_range({from, 0}, {std::min(from + chunk_blocks, blocks), 0}, requests);
			}
			transaction.commit();
			COURIER_FAULT("digest_chunk");
		}
	}

private:
	std::uint32_t count_blocks() {
		Transaction transaction;
		std::int64_t blocks;
		{
			Spi spi;
			UserContext context(run_.as_owner());
			blocks = spi_execute("SELECT pg_catalog.pg_relation_size($1::pg_catalog.regclass) OPERATOR(pg_catalog./) "
			                     "pg_catalog.current_setting('block_size')::pg_catalog.int8",
			                     scratch_table(run_.plan, "chg"))
			             .get<std::int64_t>(0, 0);
		}
		transaction.commit();
		return static_cast<std::uint32_t>(blocks);
	}

	void settle_range(Tid after, Tid below, std::uint64_t requests) {
		std::int64_t counts[3];
		{
			UserContext context(run_.as_owner());
			Rows rows = spi_execute(digest_counts(run_.plan), after, below);
			for (int kind = 0; kind < 3; kind++)
				counts[kind] = rows.get<std::int64_t>(0, kind);
			if (digest_.outcome == Outcome::succeeded) {
				spi_execute(digest_accepted(run_.plan), after, below);
				spi_execute(digest_removed(run_.plan), after, below);
			}
		}
		auto log = run_.options.log_records;
		bool logs = log == LogRecords::all || log == LogRecords::payload || (log == LogRecords::failed && !good_);
		if (logs || !good_ || run_.plan.has_rejected)
			write_records(after, below);
		settlement_.count_all(digest_.outcome, counts, requests);
	}

	// Logs and rejected records are ours and the changes are the owner's: what goes from one to the other are values.
	void write_records(Tid after, Tid below) {
		const bool payload = !good_ || run_.options.log_records == LogRecords::payload;
		for (;;) {
			Rows rows;
			{
				UserContext context(run_.as_owner());
				rows = spi_execute(digest_rows(run_.plan), after, below, log_bytes, run_.origin_run_id, payload);
			}
			if (rows.empty())
				return;
			std::vector<Settled> settled(rows.size());
			UnderwayRecords underway;
			for (std::size_t row = 0; row < rows.size(); row++) {
				after = rows.get<Tid>(row, 0);
				Settled &one = settled[row];
				one.record.change = static_cast<Change>(change_op(rows.text(row, 1)));
				one.record.key = rows.text(row, 4);
				one.record.key_json = rows.text(row, 5);
				one.record.fields = rows.text(row, 6);
				one.outcome = digest_.outcome;
				one.http_status = digest_.http_status;
				one.code = digest_.code;
				one.message = digest_.message;
				Underway known;
				if (!rows.is_null(row, 2))
					known.hash = uuid_bytes(rows.text(row, 2));
				known.origin = rows.get<std::int64_t>(row, 3);
				known.change = one.record.change;
				one.record.id = underway.add(std::move(known));
			}
			settlement_.write_records(settled, underway);
		}
	}

	const RunDefinition &run_;
	Settlement &settlement_;
	const Settled &digest_;
	bool good_;
};

} // namespace

Record digest_record(const RunDefinition &run, const Comparison &planned) {
	DigestContent content;
	content.counts[0] = planned.added;
	content.counts[1] = planned.changed;
	content.counts[2] = planned.removed;
	Record record;
	record.key = "digest";
	record.key_json = "{}";
	UserContext context(run.as_owner());
	for (int kind = 0; kind < 3; kind++) {
		std::string op(1, static_cast<char>(kinds[kind]));
		Rows rows = spi_execute(digest_samples(run.plan), op, *run.digest_records, sample_bytes);
		for (std::size_t row = 0; row < rows.size(); row++)
			content.samples[kind].push_back(sample(kinds[kind], rows, row));
	}
	record.fields = digest_fields(content);
	record.idempotency_key = spi_execute(digest_key(run.plan), run.origin_run_id).get<std::string>(0, 0);
	return record;
}

SendResult send_digest(const RunDefinition &run, const OperationMap &operations, Client &client,
                       const Comparison &planned) {
	std::optional<Record> record;
	{
		Transaction transaction;
		{
			Spi spi;
			record = digest_record(run, planned);
		}
		transaction.commit();
	}
	const UnderwayRecords none;
	TableJobStore jobs(run, none);
	Settlement settlement(run, jobs, Held::by_run);
	const auto all = static_cast<std::size_t>(planned.added + planned.changed + planned.removed);
	auto next = [&] { return std::exchange(record, std::nullopt); };
	auto write = [&](std::vector<Settled> settled, std::vector<Exchange> exchanges, std::uint64_t requests) {
		for (auto &one : exchanges)
			one.records = one.records > 0 ? all : 0; // a request for a token has none
		UnderwayRecords nothing;
		settlement.settle({}, std::move(exchanges), nothing, requests);
		for (auto &one : settled)
			WholeRun(run, settlement, one).settle(requests);
	};
	SendResult result = deliver(run, operations, client, next, write);
	if (result.failure || result.cancelled)
		abort_rest(run.run_id);
	return result;
}

} // namespace courier::pg
