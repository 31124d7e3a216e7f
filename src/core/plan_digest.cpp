#include "core/plan_sql.hpp"

// One message for all changes of a run: what it shows, the key it goes out with, and the snapshot moving for all of them.
// No row passes through C++ for that; what a statement takes is a range of blocks of chg.

namespace courier {

using namespace plan_sql;

namespace {

std::string in_range(std::string_view row) {
	std::string c(row);
	return c + ".ctid OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND " + c +
	       ".ctid OPERATOR(pg_catalog.<) $2::pg_catalog.tid AND " + c + ".phase OPERATOR(pg_catalog.<) 8";
}

std::string counts() {
	std::string out;
	for (const char *op : {"a", "c", "r"})
		out += std::string(out.empty() ? "" : ", ") + "pg_catalog.count(*) FILTER (WHERE c.op OPERATOR(pg_catalog.=) '" +
		       op + "')";
	return out;
}

} // namespace

std::string digest_samples(const Plan &plan) {
	return "SELECT c.pk, coalesce(s.p, s.mv), c.rec FROM (SELECT i.*, pg_catalog.sum(i.size) OVER (ORDER BY i.tid ROWS "
	       "UNBOUNDED PRECEDING) OPERATOR(pg_catalog.-) i.size AS bytes FROM (SELECT x.ctid AS tid, x.k, x.pk, x.rec, "
	       "x.size FROM " +
	       chg(plan) +
	       " x WHERE x.op::pg_catalog.text OPERATOR(pg_catalog.=) $1 AND x.phase OPERATOR(pg_catalog.<) 8 ORDER BY "
	       "x.ctid LIMIT $2) i) c LEFT JOIN " +
	       snapshot(plan) +
	       " s ON s.k OPERATOR(pg_catalog.=) c.k WHERE c.bytes OPERATOR(pg_catalog.<) $3::pg_catalog.int8 ORDER BY "
	       "c.tid";
}

// From the keys that the changes would have had by themselves, in whatever order they stand: the same changes, begun by the
// same runs, make the same key.
std::string digest_key(const Plan &plan) {
	std::string seed = quote_literal(plan.seed) + "::pg_catalog.text";
	return "SELECT courier.hash128(" + seed +
	       ", 'digest'::pg_catalog.text, pg_catalog.count(*), pg_catalog.bit_xor(pg_catalog.concat('x', "
	       "pg_catalog.translate(courier.hash128(" +
	       seed + ", c.key, c.op::pg_catalog.text, coalesce(c.h::pg_catalog.text, c.rec), coalesce(c.origin, $1::pg_catalog.int8))::pg_catalog.text, "
	              "'-', ''))::pg_catalog.\"bit\"(128))::pg_catalog.text)::pg_catalog.text FROM " +
	       chg(plan) + " c WHERE c.phase OPERATOR(pg_catalog.<) 8";
}

std::string digest_counts(const Plan &plan) {
	return "SELECT " + counts() + " FROM " + chg(plan) + " c WHERE " + in_range("c");
}

std::string digest_rows(const Plan &plan) {
	std::string size = "CASE WHEN $5::pg_catalog.bool THEN c.size ELSE 256 END";
	return "SELECT c.tid, c.op, c.h, coalesce(c.origin, $4::pg_catalog.int8), c.key, c.pk, CASE WHEN $5 THEN c.rec ELSE "
	       "'{}' END FROM (SELECT c.ctid AS tid, c.*, pg_catalog.sum(" +
	       size + ") OVER (ROWS UNBOUNDED PRECEDING) OPERATOR(pg_catalog.-) " + size + " AS bytes FROM " + chg(plan) +
	       " c WHERE " + in_range("c") +
	       ") c WHERE c.bytes OPERATOR(pg_catalog.<) $3::pg_catalog.int8 ORDER BY c.tid";
}

std::string digest_accepted(const Plan &plan) {
	return "INSERT INTO " + snapshot(plan) + " AS s (k" + key_columns(plan, "") + ", h, mh, mv, p) SELECT c.k" +
	       key_columns(plan, "c.") + ", c.h, c.mh, c.mv, " + (plan.keep_payload ? "c.rec" : "NULL::pg_catalog.text") +
	       " FROM " + chg(plan) + " c WHERE " + in_range("c") +
	       " AND c.op OPERATOR(pg_catalog.<>) 'r' ON CONFLICT (k) DO UPDATE SET h = excluded.h, s = NULL, mh = "
	       "excluded.mh, mv = excluded.mv, p = excluded.p, t = NULL";
}

std::string digest_removed(const Plan &plan) {
	return "DELETE FROM " + snapshot(plan) + " s USING " + chg(plan) + " c WHERE " + in_range("c") +
	       " AND c.op OPERATOR(pg_catalog.=) 'r' AND s.k OPERATOR(pg_catalog.=) c.k";
}

} // namespace courier
