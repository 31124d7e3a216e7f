#include <set>

#include "core/json_text.hpp"
#include "pg/change_pages.hpp"
#include "pg/comparison.hpp"
#include "pg/digest.hpp"
#include "pg/run_worker.hpp"
#include "pg/snapshot_table.hpp"
#include "pg/spi.hpp"
#include "pg/subtransaction.hpp"

extern "C" {
#include "utils/builtins.h"
}

// What can be asked of a sync without running it. plan_sync and preview_sync do what a run does, in a subtransaction that is
// rolled back: what they say is what a run would do, and nothing of it stays. Internal halves of door functions: the door
// has switched to the extension's owner; the SQL that calls them has checked rights.

namespace courier::pg {

namespace {

// A run number that no run has: scratch tables of a preview are named by the backend.
std::int64_t preview_run_id() {
	return -static_cast<std::int64_t>(MyProcPid);
}

RunDefinition definition_of(const std::string &sync) {
	Rows rows = spi_execute("SELECT courier_internal.sync_definition($1)", sync);
	if (rows.empty() || rows.is_null(0, 0))
		throw Error("42704", "sync \"" + sync + "\" does not exist");
	RunDefinition run = read_definition(rows.get<std::string>(0, 0));
	run.run_id = run.plan.run_id = run.origin_run_id = preview_run_id();
	complete_plan(run);
	return run;
}

} // namespace

// courier_internal.create_snapshot_table(sync_id integer)
COURIER_FUNCTION(courier_create_snapshot_table) {
	return enter_cpp([&] {
		Spi spi;
		Rows rows = spi_execute("SELECT name FROM courier_internal.sync WHERE sync_id = $1", PG_GETARG_INT32(0));
		RunDefinition run = definition_of(rows.get<std::string>(0, 0));
		make_snapshot(run);
		note_snapshot(run, SnapshotTable::made);
	});
}

// courier_internal.plan_counts(name text, OUT added, changed, removed, unchanged, invalid)
COURIER_FUNCTION(courier_plan_counts) {
	return enter_cpp([&]() -> Datum {
		ResultSet result(fcinfo);
		Spi spi;
		RunDefinition run = definition_of(text_argument(fcinfo, 0));
		OperationMap operations;
		auto client = open_client(run, operations);
		Comparison found;
		{
			Subtransaction undo;
			found = run.is_baseline() ? take_baseline(run) : compare_model(run);
		}
		if (found.blocked) {
			std::string message = found.blocked->message;
			call_postgres([&] { ereport(NOTICE, errmsg("a run would be blocked: %s", message.c_str())); });
		}
		if (run.plan.former_lost)
			call_postgres([] {
				ereport(NOTICE, errmsg("the mapping that the snapshot was made with cannot be evaluated any more"),
				        errdetail("Every record counts as changed."));
			});
		std::int64_t unchanged = std::max<std::int64_t>(0, found.rows - found.invalid - found.added - found.changed);
		result.add({found.added, found.changed, found.removed, unchanged, found.invalid});
		return Datum(0);
	});
}

namespace {

// Takes the records of the next request out: those that follow with the same change, or of the same group.
std::vector<Record> next_batch(const Client &client, Operation operation, std::vector<Record> &records,
                               std::size_t batch_size) {
	const Limits limits = client.limits(operation);
	std::size_t most = std::max<std::size_t>(limits.batch_records, 1);
	if (batch_size > 0)
		most = std::min(most, batch_size);
	std::vector<Record> batch, rest;
	std::set<std::string> unique;
	Placement first;
	for (auto &record : records) {
		bool fits = batch.size() < most && (batch.empty() || record.change == batch.front().change);
		Placement placement;
		if (fits && limits.grouped) {
			placement = client.placement(operation, record);
			fits = batch.empty() ||
			       (placement.group == first.group && placement.budget.key == first.budget.key &&
			        (placement.unique.empty() || !unique.contains(placement.unique)));
		}
		if (!fits) {
			rest.push_back(std::move(record));
			if (!limits.grouped) // the first of another kind ends the request
				most = 0;
			continue;
		}
		if (batch.empty())
			first = placement;
		unique.insert(placement.unique);
		batch.push_back(std::move(record));
	}
	records = std::move(rest);
	return batch;
}

} // namespace

// courier_internal.preview_requests(name text, max_requests integer): change, operation, records, method, url, headers, body
COURIER_FUNCTION(courier_preview_requests) {
	return enter_cpp([&]() -> Datum {
		ResultSet result(fcinfo);
		Spi spi;
		RunDefinition run = definition_of(text_argument(fcinfo, 0));
		std::int32_t most = PG_GETARG_INT32(1);
		OperationMap operations;
		auto client = open_client(run, operations);
		std::vector<Record> records;
		std::int64_t told = 0; // by a digest
		if (!run.is_baseline() && run.digest_records) {
			Subtransaction undo;
			Comparison found = compare_model(run);
			told = found.added + found.changed + found.removed;
			if (told > 0)
				records.push_back(digest_record(run, found));
		} else if (!run.is_baseline()) { // a baseline sends nothing
			Subtransaction undo;
			const Comparison found = compare_model(run);
			client->expect(static_cast<std::uint64_t>(found.added + found.changed + found.removed));
			UserContext context(run.as_owner());
			Rows rows =
			    spi_execute(page(run.plan), Tid {0, 0}, Tid {10000, 0}, std::int64_t {4 << 20}, run.origin_run_id);
			for (std::size_t row = 0; row < rows.size(); row++)
				records.push_back(record_of(run, row_of_page(rows, row)));
		}
		auto now = std::chrono::system_clock::now();
		std::int32_t made = 0;
		while (made < most && !records.empty()) {
			Change change = records.front().change;
			auto wanted = change == Change::added     ? operations.added
			              : change == Change::changed ? operations.changed
			                                          : operations.removed;
			auto operation = wanted ? client->serves(*wanted, change) : std::nullopt;
			if (!operation) {
				records.erase(records.begin());
				continue;
			}
			auto batch = next_batch(*client, *operation, records, run.options.batch_size);
			Rendered rendered = client->render(*operation, batch, now);
			if (rendered.records.empty())
				continue;
			std::string headers = "{";
			for (auto &header : rendered.request.headers) {
				headers += headers.size() > 1 ? "," : "";
				json_append_string(headers, header.name);
				headers += ':';
				json_append_string(headers, client->redact(header.value));
			}
			std::optional<std::string> word;
			if (!run.digest_records)
				word = to_text(change);
			result.add({word, std::string(to_text(*operation)),
			            static_cast<int>(run.digest_records ? told : std::ssize(rendered.records)), rendered.request.method,
			            client->redact(rendered.request.url), Jsonb {headers + "}"},
			            client->redact(rendered.request.plain_body())});
			made++;
		}
		return Datum(0);
	});
}

// courier_internal.accepted_records(name text) RETURNS TABLE (ordinal bigint, record jsonb)
COURIER_FUNCTION(courier_accepted_records) {
	return enter_cpp([&]() -> Datum {
		ResultSet result(fcinfo);
		Spi spi;
		RunDefinition run = definition_of(text_argument(fcinfo, 0));
		Rows rows;
		{
			UserContext context(run.as_owner());
			rows = spi_execute(accepted(run.plan));
		}
		for (std::size_t row = 0; row < rows.size(); row++)
			result.add({static_cast<std::int64_t>(row + 1), Jsonb {rows.get<std::string>(row, 0)}});
		return Datum(0);
	});
}

} // namespace courier::pg
