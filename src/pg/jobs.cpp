#include "pg/jobs.hpp"

#include <nlohmann/json.hpp>

#include "pg/change_pages.hpp"
#include "pg/snapshot_table.hpp"
#include "pg/fault.hpp"
#include "pg/hold_cancel.hpp"
#include "pg/spi.hpp"

// The order of things, and what a death in between leaves behind
//
// - The job exists at the destination, open() has not committed: nobody knows of it. The client opens jobs in such a way that
//   such a one has no records (Salesforce), or says so before it asks (Rendered::keep).
// - open() or update() has committed: the next run asks what became of the job, settles, then compares.
// - The result was read and not settled: the same. Rows of the job go in the transaction that settles them, so a job is
//   settled once, or asked again.
// - The table is the owner's. If he drops it, jobs without records are closed, and their records are compared again.
// - A restored dump has the table and not courier_internal.job, whose numbers begin anew: leftovers are dropped before a run
//   opens its first job.

namespace courier::pg {

namespace {

bool exists(const std::string &table) {
	return !spi_execute("SELECT pg_catalog.to_regclass($1)::pg_catalog.oid", table).is_null(0, 0);
}

void check_table(const RunDefinition &run) {
	if (!is_plain_table(run, jobs_table(run.sync_id)))
		throw Error("55000",
		            "the table " + jobs_table(run.sync_id) + " of sync \"" + run.sync +
		                "\" is not as pg_courier made it",
		            "It must be a plain table of the sync's owner without triggers, rules, row security and children.",
		            "Remove what was added to it.");
}

#ifdef COURIER_FAULT_POINTS
// "job_<step>": the state has just been written.
void reach_fault(const std::string &state) {
	const auto json = nlohmann::json::parse(state, nullptr, false);
	const std::string name = "job_" + (json.is_object() ? json.value("step", "") : std::string());
	COURIER_FAULT(name.c_str());
}
#else
void reach_fault(const std::string &) {
}
#endif

} // namespace

std::int64_t TableJobStore::open(Operation operation, std::span<const Record> batch, const std::string &state) {
	HoldCancel hold;
	std::vector<Tid> tids;
	std::vector<std::optional<std::string>> remote_ids;
	for (auto &record : batch) {
		tids.push_back(underway_.tid(record.id));
		remote_ids.push_back(record.remote_id.empty() ? std::nullopt : std::optional(storable(record.remote_id)));
	}
	std::int64_t job;
	Transaction transaction;
	{
		Spi spi;
		job = spi_execute("INSERT INTO courier_internal.job (sync_id, run_id, operation, records, state)"
		                  " VALUES ($1, $2, $3, $4, $5) RETURNING job_id",
		                  run_.sync_id, run_.run_id, std::string(to_text(operation)), static_cast<int>(batch.size()),
		                  storable(state, SIZE_MAX))
		          .get<std::int64_t>(0, 0);
		const bool make = !table_is_there_ && !exists(jobs_table(run_.sync_id));
		if (!make)
			check_table(run_);
		UserContext context(
		    run_.as_owner({{"enable_hashjoin", "off"}, {"enable_mergejoin", "off"}, {"enable_seqscan", "off"}}));
		if (make)
			for (auto &statement : create_jobs(run_.plan))
				spi_execute(statement);
		spi_execute(keep_job(run_.plan), job, tids, remote_ids, run_.origin_run_id);
	}
	transaction.commit();
	table_is_there_ = true;
	reach_fault(state);
	return job;
}

void TableJobStore::update(std::int64_t job, const std::string &state) {
	HoldCancel hold;
	Transaction transaction;
	{
		Spi spi;
		spi_execute("UPDATE courier_internal.job SET state = $2 WHERE job_id = $1", job, storable(state, SIZE_MAX));
	}
	transaction.commit();
	reach_fault(state);
}

void TableJobStore::write_ends() {
	if (!pending())
		return;
	auto ended = closed_;
	ended.insert(ended.end(), abandoned_.begin(), abandoned_.end());
	spi_execute("DELETE FROM courier_internal.job WHERE job_id = ANY ($1)", closed_);
	spi_execute("UPDATE courier_internal.job SET records = 0 WHERE job_id = ANY ($1)", abandoned_);
	if (!exists(jobs_table(run_.sync_id)))
		return;
	check_table(run_);
	UserContext context(run_.as_owner());
	spi_execute(close_jobs(run_.plan), ended);
}

void TableJobStore::forget_ends() {
	closed_.clear();
	abandoned_.clear();
}

void drop_idle_jobs_table(const RunDefinition &run) {
	const auto table = jobs_table(run.sync_id);
	if (!exists(table) ||
	    spi_execute("SELECT FROM courier_internal.job WHERE sync_id = $1 LIMIT 1", run.sync_id).processed() > 0)
		return;
	if (!is_plain_table(run, table))
		return; // not ours to drop
	UserContext context(run.as_owner());
	spi_execute("DROP TABLE IF EXISTS " + table);
}

std::vector<OpenJob> open_jobs(const RunDefinition &run) {
	std::vector<OpenJob> out;
	Transaction transaction;
	{
		Spi spi;
		Rows rows =
		    spi_execute("SELECT job_id, operation, state FROM courier_internal.job WHERE sync_id = $1 ORDER BY job_id",
		                run.sync_id);
		for (std::size_t row = 0; row < rows.size(); row++)
			out.push_back({rows.get<std::int64_t>(row, 0),
			               operation_from(rows.text(row, 1)).value_or(Operation::upsert),
			               rows.get<std::string>(row, 2)});
		if (out.empty()) {
			drop_idle_jobs_table(run);
		} else if (!exists(jobs_table(run.sync_id))) {
			spi_execute("DELETE FROM courier_internal.job WHERE sync_id = $1 AND records > 0", run.sync_id);
			out.clear();
		} else {
			check_table(run);
		}
	}
	transaction.commit();
	return out;
}

std::vector<Record> records_of_job(const RunDefinition &run, std::int64_t job, UnderwayRecords &underway) {
	Transaction transaction;
	Rows rows;
	{
		Spi spi;
		UserContext context(run.as_owner());
		rows = spi_execute(job_records(run.plan), job);
	}
	transaction.commit();
	std::vector<Record> out;
	for (std::size_t row = 0; row < rows.size(); row++) {
		const ChangeRow change = row_of_page(rows, row);
		out.push_back(record_of(run, change));
		out.back().id = underway.add(underway_of(change));
	}
	return out;
}

void forget_jobs(const RunDefinition &run) {
	Transaction transaction;
	{
		Spi spi;
		spi_execute("DELETE FROM courier_internal.job WHERE sync_id = $1", run.sync_id);
		drop_idle_jobs_table(run);
	}
	transaction.commit();
}

} // namespace courier::pg
