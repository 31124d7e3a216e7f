#include "pg/change_pages.hpp"

#include <algorithm>

#include "core/json_text.hpp"

// Pages are ranges of blocks, read by TID range scans: in the order of insertion, without an index. A page ends after so
// many bytes of payload (PostgreSQL adds them up before it takes them out of TOAST), so a worker's memory is bounded
// whatever the records are; then the next page begins after the last row of this one.

namespace courier::pg {

namespace {

constexpr std::uint32_t page_blocks = 128;
constexpr std::int64_t page_bytes = 4 << 20;

} // namespace

std::string changed_members(const std::string &record, const std::string &accepted,
                            const std::vector<std::string> &always) {
	auto before = json_members(accepted);
	std::string out = "{";
	for (auto &[name, value] : json_members(record)) {
		auto same = [&, &name = name, &value = value](const auto &member) {
			return member.first == name && member.second == value;
		};
		bool keep = std::find(always.begin(), always.end(), name) != always.end();
		if (!keep && std::any_of(before.begin(), before.end(), same))
			continue;
		if (out.size() > 1)
			out += ',';
		json_append_string(out, name);
		out += ':';
		out += value;
	}
	return out + "}";
}

Record record_from_page(const RunDefinition &run, const Rows &rows, std::size_t row) {
	Record record;
	record.id = rows.get<Tid>(row, 0).pack();
	record.change = static_cast<Change>(rows.text(row, 1)[0]);
	record.known_bad = rows.get<int>(row, 2) == 1;
	record.key = rows.text(row, 6);
	record.key_json = rows.text(row, 7);
	record.fields = rows.text(row, 8);
	record.idempotency_key = rows.text(row, 9);
	// Of messages the whole record that was accepted last is kept, of others the match values.
	record.previous = run.plan.removal_payload && !rows.is_null(row, 12) ? rows.text(row, 12) : rows.text(row, 10);
	record.remote_id = rows.text(row, 11);
	if (run.options.changed_fields_only && record.change == Change::changed && !rows.is_null(row, 12)) {
		std::vector<std::string> match_members; // the first parts of dotted names
		for (auto &field : run.client.match_fields)
			match_members.push_back(field.substr(0, field.find('.')));
		record.fields = changed_members(record.fields, std::string(rows.text(row, 12)), match_members);
	}
	return record;
}

Underway underway_from_page(const Rows &rows, std::size_t row) {
	Underway underway;
	underway.former = rows.get<bool>(row, 3);
	underway.former_value = rows.get<std::string>(row, 14);
	underway.in_snapshot = rows.get<bool>(row, 15);
	underway.hash = rows.get<std::optional<Uuid>>(row, 4);
	underway.origin = rows.get<std::int64_t>(row, 5);
	underway.change = static_cast<Change>(rows.text(row, 1)[0]);
	return underway;
}

ChangePages::ChangePages(const RunDefinition &run) : run_(run) {
}

std::optional<Record> ChangePages::next(UnderwayRecords &underway) {
	while (items_.empty())
		if (!read())
			return std::nullopt;
	Item item = std::move(items_.front());
	items_.pop_front();
	underway.emplace(item.record.id, item.underway);
	return std::move(item.record);
}

// False: nothing is left. True with no items: this range had none.
bool ChangePages::read() {
	Transaction transaction;
	Rows rows;
	bool done;
	{
		Spi spi;
		UserContext context(run_.as_owner({{"enable_hashjoin", "off"},
		                                   {"enable_mergejoin", "off"},
		                                   {"enable_seqscan", "off"},
		                                   {"enable_bitmapscan", "off"}}));
		if (!counted_) {
			Rows size =
			    spi_execute("SELECT pg_catalog.pg_relation_size($1::pg_catalog.regclass) OPERATOR(pg_catalog./) "
			                "pg_catalog.current_setting('block_size')::pg_catalog.int8",
			                scratch_table(run_.plan, "chg"));
			blocks_ = static_cast<std::uint32_t>(size.get<std::int64_t>(0, 0));
			counted_ = true;
		}
		done = below_ >= blocks_ && after_.pack() == Tid {below_, 0}.pack();
		if (!done) {
			below_ = std::max(below_, std::min(after_.block + page_blocks, blocks_));
			rows = spi_execute(page(run_.plan), after_, Tid {below_, 0}, page_bytes, run_.origin_run_id);
		}
	}
	transaction.commit();
	if (done)
		return false;

	std::int64_t bytes = 0;
	for (std::size_t row = 0; row < rows.size(); row++) {
		bytes += rows.get<std::int64_t>(row, 13);
		after_ = rows.get<Tid>(row, 0);
		items_.push_back({record_from_page(run_, rows, row), underway_from_page(rows, row)});
	}
	if (bytes < page_bytes)
		after_ = Tid {below_, 0}; // the range was read to its end
	return true;
}

} // namespace courier::pg
