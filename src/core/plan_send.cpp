#include "core/plan_sql.hpp"

// Reading the changes in sending order, and moving the snapshot for what was accepted.

namespace courier {

using namespace plan_sql;

// The idempotency key has the hash of the compared fields, not the record as it is sent: now() and courier.run_id() differ when
// the same change is sent again by another run.
//
// The previous value and the remote id of a former removal are those it was planned with: the snapshot may be beyond them by
// now, and a removal must never name the record that replaced this one.
std::string page(const Plan &plan) {
	return "SELECT c.tid, c.op, c.phase, c.former, c.h, coalesce(c.origin, $4::pg_catalog.int8), c.key, c.pk, c.rec, "
	       "courier.hash128(" +
	       quote_literal(plan.seed) +
	       "::pg_catalog.text, c.key, c.op::pg_catalog.text, coalesce(c.h::pg_catalog.text, c.rec), coalesce(c.origin, "
	       "$4::pg_catalog.int8))::pg_catalog.text, " +
	       (plan.all_new ? "NULL::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text"
	                     : "CASE WHEN c.former AND c.op OPERATOR(pg_catalog.=) 'r' THEN c.mv ELSE s.mv END, CASE WHEN "
	                       "c.former THEN c.r ELSE s.r END, s.p") +
	       ", c.size, " +
	       former_of("c") + (plan.all_new ? ", false" : ", s.k IS NOT NULL") +
	       " FROM (SELECT ctid AS tid, i.*, pg_catalog.sum(i.size) OVER (ROWS UNBOUNDED "
	       "PRECEDING) "
	       "OPERATOR(pg_catalog.-) i.size AS bytes FROM " +
	       chg(plan) +
	       " i WHERE ctid OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) $2::pg_catalog.tid "
	       "AND phase OPERATOR(pg_catalog.<) 8) c" +
	       (plan.all_new ? std::string() : " LEFT JOIN " + snapshot(plan) + " s ON s.k OPERATOR(pg_catalog.=) c.k") +
	       " WHERE c.bytes OPERATOR(pg_catalog.<) $3::pg_catalog.int8 ORDER BY "
	       "c.tid";
}

std::string settle_accepted(const Plan &plan, Held held) {
	return "INSERT INTO " + snapshot(plan) + " AS s (k" + key_columns(plan, "") + ", h, mh, mv, p, r) SELECT c.k" +
	       key_columns(plan, "c.") + ", c.h, c.mh, c.mv, " + (plan.keep_payload ? "c.rec" : "NULL::pg_catalog.text") +
	       ", u.r FROM unnest($1::pg_catalog.tid[], $2::pg_catalog.text[]) AS u(t, r) JOIN " + source(plan, held) +
	       " c ON c.ctid OPERATOR(pg_catalog.=) u.t ON CONFLICT (k) DO UPDATE SET h = excluded.h, s = NULL, mh = "
	       "excluded.mh, "
	       "mv = excluded.mv, p = excluded.p, r = " +
	       (plan.rename_by_removal ? std::string("CASE WHEN s.mh OPERATOR(pg_catalog.<>) excluded.mh THEN excluded.r "
	                                             "ELSE coalesce(excluded.r, s.r) END")
	                               : std::string("coalesce(excluded.r, s.r)")) +
	       ", t = NULL";
}

std::string settle_skipped(const Plan &plan, Held held) {
	return "INSERT INTO " + snapshot(plan) + " AS s (k" + key_columns(plan, "") + ", h, s, mh, mv) SELECT c.k" +
	       key_columns(plan, "c.") + ", c.h, 's', c.mh, c.mv FROM " + from_tids(plan, held) +
	       " ON CONFLICT (k) DO UPDATE SET h = excluded.h, s = 's', mh = excluded.mh, mv = excluded.mv, p = NULL, t = "
	       "NULL";
}

std::string settle_removed(const Plan &plan, Held held) {
	return "DELETE FROM " + snapshot(plan) + " s USING " + from_tids(plan, held) +
	       " WHERE s.k OPERATOR(pg_catalog.=) c.k AND NOT c.former";
}

std::string accepted(const Plan &plan) {
	auto values = stored_key(plan, "s");
	return "SELECT pg_catalog.json_build_object('key', " + key_text(values) + ", 'primary_key', " +
	       key_json(plan.key, values) +
	       "::pg_catalog.json, 'state', CASE s.s WHEN 's' THEN 'skipped' WHEN 'l' THEN 'left' ELSE 'accepted' END, "
	       "'hash', s.h, 'match', s.mv::pg_catalog.json, 'payload', s.p::pg_catalog.json, 'remote_id', "
	       "s.r)::pg_catalog.text "
	       "FROM " +
	       snapshot(plan) + " s ORDER BY s.k";
}

} // namespace courier
