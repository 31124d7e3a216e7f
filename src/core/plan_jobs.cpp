#include "core/plan_sql.hpp"

// What a job at the destination has been given and has not told the result of. Scratch does not outlive a crash, so
// what a settlement needs of a record is copied into a logged table before the job gets it: the columns of chg, with
// the job, the record's place in the batch and the identifier it was found under. The same statements settle from
// either table.

namespace courier {

using namespace plan_sql;

namespace {

std::string columns(const Plan &plan, std::string_view prefix) {
	const std::string before(prefix);
	return before + "k" + key_columns(plan, prefix) + ", " + before + "op, " + before + "phase, " + before +
	       "former, " + before + "h, " + before + "mh, " + before + "mv, " + before + "key, " + before + "pk, " +
	       before + "rec, " + before + "size";
}

} // namespace

std::string jobs_table(int sync_id) {
	return "courier_data.jobs_" + std::to_string(sync_id);
}

std::vector<std::string> create_jobs(const Plan &plan) {
	const auto table = jobs_table(plan.sync_id);
	return {
	    "CREATE TABLE " + table + " (job pg_catalog.int8, n pg_catalog.int8, k " + k_type(plan) +
	        key_definitions(plan) +
	        ", op \"char\", phase pg_catalog.int2, former pg_catalog.bool, h pg_catalog.uuid, mh pg_catalog.uuid, mv "
	        "pg_catalog.text, origin pg_catalog.int8, key pg_catalog.text, pk pg_catalog.text, rec pg_catalog.text, "
	        "size "
	        "pg_catalog.int4, r pg_catalog.text)",
	    "CREATE INDEX ON " + table + " (job)"};
}

std::string keep_job(const Plan &plan) {
	return "INSERT INTO " + jobs_table(plan.sync_id) + " (job, n, " + columns(plan, "") +
	       ", origin, r) SELECT $1::pg_catalog.int8, u.n, " + columns(plan, "c.") +
	       ", coalesce(c.origin, $4::pg_catalog.int8), u.r FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.tid[]), "
	       "pg_catalog.unnest($3::pg_catalog.text[])) WITH ORDINALITY AS u(t, r, n) JOIN " +
	       chg(plan) + " c ON c.ctid OPERATOR(pg_catalog.=) u.t";
}

// The key of idempotency is not needed: nothing is sent again under it.
std::string job_records(const Plan &plan) {
	return "SELECT j.ctid, j.op, j.phase, j.former, j.h, j.origin, j.key, j.pk, j.rec, ''::pg_catalog.text, CASE WHEN "
	       "j.former AND j.op OPERATOR(pg_catalog.=) 'r' THEN j.mv ELSE s.mv END, CASE WHEN j.former THEN j.r ELSE "
	       "coalesce(j.r, s.r) END, NULL::pg_catalog.text, j.size, " +
	       former_of("j") + ", true FROM " +
	       jobs_table(plan.sync_id) + " j LEFT JOIN " + snapshot(plan) +
	       " s ON s.k OPERATOR(pg_catalog.=) j.k WHERE j.job OPERATOR(pg_catalog.=) $1::pg_catalog.int8 ORDER BY j.n";
}

std::string close_jobs(const Plan &plan) {
	return "DELETE FROM " + jobs_table(plan.sync_id) + " WHERE job OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int8[])";
}

} // namespace courier
