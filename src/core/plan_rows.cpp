#include "core/plan_sql.hpp"

// Rows that cannot be used, keys that leave without a request, baselines: what a comparison does besides finding changes.

namespace courier {

using namespace plan_sql;

std::string count_rows(const Plan &plan) {
	return "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE k IS NULL), pg_catalog.count(*) FILTER "
	       "(WHERE k IS "
	       "NOT NULL AND x IS NOT NULL) FROM " +
	       cur(plan);
}

// The same of a model that is not staged.
std::string count_model(const Plan &plan) {
	std::string missing = plan.check_match() ? match_missing(plan) : "false";
	return "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE nk), pg_catalog.count(*) FILTER (WHERE NOT nk "
	       "AND nm) FROM (SELECT " +
	       null_key(plan) + " AS nk, (" + missing + ") AS nm FROM " + model(plan) + ") m";
}

std::string note_shared_matches(const Plan &plan) {
	auto values = model_key(plan);
	return "INSERT INTO " + inv(plan) + " SELECT 'duplicate_match', m.key, m.pk, 1 FROM (SELECT " + match_hash(plan) +
	       " AS mh, " + key_text(values) + " AS key, " + key_json(plan.key, values) + " AS pk FROM " + model(plan) +
	       ") m WHERE m.mh IN (" + shared_matches(plan) + ")";
}

std::string drop_shared_matches(const Plan &plan) {
	return "DELETE FROM " + dif(plan) + " d USING " + cur(plan) +
	       " c WHERE c.k OPERATOR(pg_catalog.=) d.k AND d.op OPERATOR(pg_catalog.<>) 'r' AND c.mh IN (" +
	       shared_matches(plan) + ")";
}

std::string count_copies(const Plan &plan) {
	return "SELECT pg_catalog.count(*) OPERATOR(pg_catalog.-) pg_catalog.count(DISTINCT k) FROM " + chg(plan);
}

// What note_duplicates looks at, after build_first.
std::vector<std::string> find_copies(const Plan &plan) {
	return {
	    "CREATE UNLOGGED TABLE " + dif(plan) + " AS SELECT k, 'a'::\"char\" AS op FROM " + chg(plan) +
	        " GROUP BY k HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1",
	    "CREATE UNLOGGED TABLE " + cur(plan) + " AS SELECT c.k FROM " + chg(plan) + " c JOIN " + dif(plan) +
	        " d ON d.k OPERATOR(pg_catalog.=) c.k",
	};
}

std::string note_duplicates(const Plan &plan) {
	return "INSERT INTO " + inv(plan) +
	       " SELECT 'duplicate_key', pg_catalog.min(c.key), pg_catalog.min(c.pk), d.copies FROM (" +
	       duplicate_keys(plan) + ") d JOIN " + chg(plan) +
	       " c ON c.k OPERATOR(pg_catalog.=) d.k GROUP BY d.k, d.copies";
}

// A model that gives other rows when it is read again (volatile functions) leaves copies that cur does not have: one of
// each key is enough.
std::string drop_duplicates(const Plan &plan) {
	return "DELETE FROM " + chg(plan) + " c WHERE c.k IN (SELECT k FROM (" + duplicate_keys(plan) +
	       ") d) OR EXISTS (SELECT FROM " + chg(plan) +
	       " o WHERE o.k OPERATOR(pg_catalog.=) c.k AND o.ctid OPERATOR(pg_catalog.<) c.ctid)";
}

std::string note_null_keys(const Plan &plan) {
	auto values = model_key(plan);
	return "INSERT INTO " + inv(plan) + " SELECT 'null_key', " + key_text(values) + ", " + key_json(plan.key, values) +
	       ", 1 FROM " + model(plan) + " WHERE " +
	       join(values, " OR ", [](const std::string &v) { return v + " IS NULL"; }) + " LIMIT 1000";
}

std::string note_null_matches(const Plan &plan) {
	auto values = model_key(plan);
	return "INSERT INTO " + inv(plan) + " SELECT 'null_match', " + key_text(values) + ", " +
	       key_json(plan.key, values) + ", 1 FROM " + model(plan) + " WHERE (" +
	       join(values, " AND ", [](const std::string &v) { return v + " IS NOT NULL"; }) + ") AND (" +
	       match_missing(plan) + ") LIMIT 1000";
}

std::string drop_held_removals(const Plan &plan) {
	return "DELETE FROM " + snapshot(plan) + " s USING " + dif(plan) +
	       " d WHERE d.op OPERATOR(pg_catalog.=) 'r' AND d.k OPERATOR(pg_catalog.=) s.k AND s.mh IN (SELECT mh FROM " +
	       cur(plan) + " WHERE mh IS NOT NULL)";
}

std::string forget_removed(const Plan &plan) {
	std::string gone = " d WHERE d.op OPERATOR(pg_catalog.=) '" + std::string(plan.send_removals ? "f" : "r") +
	                   "' AND d.k OPERATOR(pg_catalog.=) s.k";
	if (plan.keep_left)
		return "UPDATE " + snapshot(plan) + " s SET s = 'l', t = pg_catalog.now() FROM " + dif(plan) + gone;
	return "DELETE FROM " + snapshot(plan) + " s USING " + dif(plan) + gone;
}

std::string recall_left(const Plan &plan) {
	return "UPDATE " + snapshot(plan) + " s SET s = NULL, t = NULL FROM " + cur(plan) +
	       " m WHERE m.k OPERATOR(pg_catalog.=) s.k AND s.s OPERATOR(pg_catalog.=) 'l'";
}

std::string forget_left(const Plan &plan) {
	return "DELETE FROM " + snapshot(plan) +
	       " s WHERE s.s OPERATOR(pg_catalog.=) 'l' AND s.t OPERATOR(pg_catalog.<) "
	       "(pg_catalog.now() OPERATOR(pg_catalog.-) $1::pg_catalog.interval)"; // all OPERATOR() bind alike
}

std::string adopt_hashes(const Plan &plan) {
	return "UPDATE " + snapshot(plan) + " s SET h = m.h FROM " + cur(plan) +
	       " m WHERE m.k OPERATOR(pg_catalog.=) s.k AND s.h OPERATOR(pg_catalog.=) m.ho AND NOT m.d AND s.h "
	       "OPERATOR(pg_catalog.<>) m.h";
}

std::string adopt_matches(const Plan &plan) {
	return "UPDATE " + snapshot(plan) + " s SET mh = m.mh, mv = m.mv FROM (SELECT " + model_k(plan) + " AS k, " +
	       record_hash(plan.seed, plan.fields, false) + " AS h, " + match_hash(plan) + " AS mh, " + match_json(plan) +
	       " AS mv FROM " + model(plan) + " WHERE NOT (" + match_missing(plan) +
	       ")) m WHERE m.k OPERATOR(pg_catalog.=) s.k AND s.h OPERATOR(pg_catalog.=) m.h AND s.mh IS DISTINCT FROM "
	       "m.mh";
}

std::string stale_rejected(const Plan &plan) {
	return "SELECT r.key, r.former FROM " + rej(plan) + " r WHERE NOT EXISTS (SELECT FROM " + chg(plan) +
	       " c WHERE c.key OPERATOR(pg_catalog.=) r.key AND " + former_of("c") + " OPERATOR(pg_catalog.=) r.former)";
}

// A baseline builds no chg, so the keys are found in cur and named by the model.
std::string note_baseline_duplicates(const Plan &plan) {
	auto values = model_key(plan);
	return "INSERT INTO " + inv(plan) +
	       " SELECT 'duplicate_key', pg_catalog.min(m.key), pg_catalog.min(m.pk), pg_catalog.count(*) FROM (SELECT " +
	       model_k(plan) + " AS k, " + key_text(values) + " AS key, " + key_json(plan.key, values) + " AS pk FROM " + model(plan) +
	       ") m WHERE m.k IN (SELECT k FROM " + cur(plan) +
	       " WHERE k IS NOT NULL GROUP BY k HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1) GROUP BY m.k LIMIT 1000";
}

std::string baseline_remove(const Plan &plan) {
	return "DELETE FROM " + snapshot(plan) + " s WHERE NOT EXISTS (SELECT FROM " + cur(plan) +
	       " m WHERE m.k OPERATOR(pg_catalog.=) s.k)";
}

std::string baseline_fill(const Plan &plan) {
	auto values = model_key(plan);
	std::string columns = model_k(plan) + " AS k, " + record_hash(plan.seed, plan.fields, false) + " AS h";
	if (plan.key_form() == KeyForm::folded)
		for (std::size_t i = 0; i < values.size(); i++)
			columns += ", " + values[i] + " AS k" + std::to_string(i + 1);
	columns += plan.keep_match() ? ", " + match_hash(plan) + " AS mh, " + match_json(plan) + " AS mv"
	                             : ", NULL::pg_catalog.uuid AS mh, NULL::pg_catalog.text AS mv";
	// Messages tell what was there before, and of a removed row too.
	columns += plan.removal_payload ? ", " + payload(plan, true) + " AS p" : ", NULL::pg_catalog.text AS p";
	std::string from = model(plan);
	if (plan.check_match())
		from += " WHERE NOT (" + match_missing(plan) + ")";
	std::string unusable = "SELECT k FROM " + cur(plan) +
	                       " WHERE k IS NOT NULL GROUP BY k HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1";
	std::string shared = plan.keep_match() ? " AND m.mh NOT IN (" + shared_matches(plan) + ")" : "";
	return "INSERT INTO " + snapshot(plan) + " AS s (k" + key_columns(plan, "") + ", h, mh, mv, p) SELECT m.k" +
	       key_columns(plan, "m.") + ", m.h, m.mh, m.mv, m.p FROM (SELECT " + columns + " FROM " + from +
	       ") m WHERE m.k IS NOT NULL AND m.k NOT IN (" + unusable + ")" + shared +
	       " ON CONFLICT (k) DO UPDATE SET h = excluded.h, s = NULL, mh = excluded.mh, mv = excluded.mv, p = excluded.p, "
	       "t = NULL";
}

std::string count_changes(const Plan &plan) {
	auto count = [](std::string_view op) {
		return "pg_catalog.count(*) FILTER (WHERE op OPERATOR(pg_catalog.=) '" + std::string(op) + "')";
	};
	return "SELECT " + count("a") + ", " + count("c") + ", " + count("r") + " FROM " + chg(plan) +
	       " WHERE phase OPERATOR(pg_catalog.<) 8";
}

} // namespace courier
