#include "core/plan_doubt.hpp"

#include "core/plan_sql.hpp"

namespace courier {

using namespace plan_sql;

namespace {

// No record has this hash.
std::string forget_hash(const Plan &plan) {
	return "UPDATE " + snapshot(plan) +
	       " s SET h = '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid, p = NULL FROM ";
}

} // namespace

std::string note_in_doubt(const Plan &plan) {
	return "CREATE TABLE " + scratch_table(plan, "doubt") + " AS SELECT c.k, c.h FROM " + chg(plan) +
	       " c WHERE c.op OPERATOR(pg_catalog.<>) 'a' AND c.phase OPERATOR(pg_catalog.<) 8 AND NOT c.former";
}

std::string mark_in_doubt(const Plan &plan, const std::string &table) {
	return forget_hash(plan) + table +
	       " d WHERE d.k OPERATOR(pg_catalog.=) s.k AND s.s IS NULL AND (d.h IS NULL OR d.h OPERATOR(pg_catalog.<>) s.h)";
}

std::string settle_in_doubt(const Plan &plan, Held held) {
	return forget_hash(plan) + from_tids(plan, held) +
	       " WHERE s.k OPERATOR(pg_catalog.=) c.k AND s.s IS NULL AND (NOT c.former OR s.mh OPERATOR(pg_catalog.=) c.mh)";
}

} // namespace courier
