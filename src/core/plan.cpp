#include "core/plan.hpp"

#include <algorithm>
#include <array>
#include <functional>

#include "core/plan_sql.hpp"

// The design
//
// A snapshot row is a key and a 128-bit hash of the compared fields. A run stages the model as (key, hash), full-joins the
// two as narrow sorted tuples, and only then builds payloads, for the keys that differ, by joining back to the model in the
// same REPEATABLE READ transaction. Keys of fixed size stand as they are; text, numeric and composite keys are folded to a
// hash (of the value, not of its spelling: 1.0 and 1.00 are one key) and the columns are kept beside it, so that removals
// can name the record.
//
// Columns of a snapshot: k key, k1..kn key columns (folded form), h hash, s state (NULL accepted, s skipped, l left), mh and
// mv hash and values of match fields that are not the key, p accepted payload, r remote id, t when it left. Those that a
// sync does not need are NULL and cost nothing: eight nullable columns fit the header's padding.
//
// Columns of cur: x is 'm' where a match value is missing; ho is the hash under the former mapping and d whether the record
// differs from what the former mapping makes of the same row. A row whose snapshot hash equals ho has not changed at the
// source, so it is sent only if d.
//
// Columns of dif: at is where the key's row stands in the snapshot, which spares the sender a look into the index; op f
// is a key that has gone and that the destination never had (it was skipped): the snapshot forgets it and nothing is
// sent. Where gone records are not told at all, every one of them is r, and forget_removed forgets them.
//
// Columns of chg: at as in dif, where it is known; op is a, c or r; phase is 0 normal, 1 refused before, 8 refused
// before and not due yet. It is filled in sending order and read by TID range, which needs no index. former marks a
// removal that tells of a record's previous match value (mh, mv and r are that value then, and what becomes of it is in
// plan_former.cpp), and the addition that goes with it.
//
// Duplicate keys are not searched for: a key that the model has twice meets itself in the join back to the model, so chg
// gets more rows than dif has. Only then is it asked which they are.
//
// User expressions appear only in a sub-select whose FROM is the model alone, so no name of ours can capture theirs.

namespace courier {

using namespace plan_sql;

namespace {

// The server syncs an unlogged table to disk, three files with its TOAST table, as soon as it is made. A logged one costs what is in it.
std::string create_scratch(const Plan &plan) {
	return plan.small ? "CREATE TABLE " : "CREATE UNLOGGED TABLE ";
}

constexpr std::string_view data_schema = "courier_data";

} // namespace

std::string quote_identifier(std::string_view name) {
	std::string out = "\"";
	for (char c : name) {
		if (c == '"')
			out += '"';
		out += c;
	}
	return out + "\"";
}

std::string quote_literal(std::string_view text) {
	bool escape = text.find('\\') != std::string_view::npos;
	std::string out = escape ? "E'" : "'";
	for (char c : text) {
		if (c == '\'' || c == '\\')
			out += c;
		out += c;
	}
	return out + "'";
}

std::string snapshot_table(int sync_id) {
	return std::string(data_schema) + ".snapshot_" + std::to_string(sync_id);
}

std::string scratch_table(const Plan &plan, std::string_view suffix) {
	// A preview has no run; its scratch lives inside a transaction and is named after the backend.
	std::string name =
	    plan.run_id < 0 ? "preview_" + std::to_string(-plan.run_id) : "run_" + std::to_string(plan.run_id);
	std::size_t tag = std::hash<std::string> {}(plan.seed + name);
	return std::string(data_schema) + "." + name + "_" + std::string(suffix) + "_" + std::to_string(tag);
}

KeyForm key_form(const std::vector<PlanKey> &key) {
	static constexpr std::array<std::string_view, 9> fixed {
	    "smallint",
	    "integer",
	    "bigint",
	    "uuid",
	    "date",
	    "oid",
	    "timestamp without time zone",
	    "timestamp with time zone",
	    "boolean",
	};
	return key.size() == 1 && std::find(fixed.begin(), fixed.end(), key[0].type) != fixed.end() ? KeyForm::plain
	                                                                                            : KeyForm::folded;
}

KeyForm Plan::key_form() const {
	return courier::key_form(key);
}

bool Plan::keep_match() const {
	auto fields = match_fields(*this);
	if (fields.empty())
		return false;
	std::vector<const PlanKey *> seen;
	for (auto *field : fields) {
		auto *column = bare_key(*this, *field);
		if (!column)
			return true;
		seen.push_back(column);
	}
	return std::any_of(key.begin(), key.end(), [&](const PlanKey &column) {
		return std::find(seen.begin(), seen.end(), &column) == seen.end();
	});
}

bool Plan::check_match() const {
	if (keep_match())
		return true;
	auto fields = match_fields(*this);
	return std::any_of(fields.begin(), fields.end(), [](const PlanField *field) { return is_text_like(field->type); });
}

bool same_format(const PlanFormat &a, const PlanFormat &b) {
	auto same_key = [](const PlanKey &x, const PlanKey &y) { return x.name == y.name && x.type == y.type; };
	auto same_field = [](const PlanField &x, const PlanField &y) {
		return x.name == y.name && x.expression == y.expression && x.type == y.type;
	};
	return std::equal(a.key.begin(), a.key.end(), b.key.begin(), b.key.end(), same_key) &&
	       std::equal(a.fields.begin(), a.fields.end(), b.fields.begin(), b.fields.end(), same_field) &&
	       a.match == b.match;
}

PlanFormat format_of(const Plan &plan) {
	PlanFormat out;
	out.key = plan.key;
	for (auto &field : plan.fields) {
		if (field.compared)
			out.fields.push_back(field);
		if (field.match)
			out.match.push_back(field.name);
	}
	return out;
}

// autovacuum: a snapshot gets small bursts of updates; waiting for a fifth of it to be dead would let it bloat.
std::string create_snapshot(const Plan &plan) {
	return "CREATE TABLE " + snapshot(plan) + " (k " + k_type(plan) +
	       " PRIMARY KEY, h pg_catalog.uuid NOT NULL, s \"char\", " +
	       "mh pg_catalog.uuid, mv pg_catalog.text, p pg_catalog.text, r pg_catalog.text, t pg_catalog.timestamptz" +
	       key_definitions(plan) + ") WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05)";
}

std::vector<std::string> convert_snapshot(const Plan &plan, const std::vector<PlanKey> &former) {
	std::string old = scratch_table(plan, "old");
	bool was_plain = key_form(former) == KeyForm::plain;
	std::vector<std::string> values;
	for (std::size_t i = 0; i < plan.key.size(); i++)
		values.push_back("o." + (was_plain ? std::string("k") : "k" + std::to_string(i + 1)) + "::" + plan.key[i].type);
	std::string k = plan.key_form() == KeyForm::plain ? values[0] : folded(plan, values);
	std::string columns;
	if (plan.key_form() == KeyForm::folded)
		for (auto &value : values)
			columns += ", " + value;
	return {
	    "ALTER TABLE " + snapshot(plan) + " RENAME TO " + old.substr(old.find('.') + 1),
	    create_snapshot(plan),
	    "INSERT INTO " + snapshot(plan) + " (k" + key_columns(plan, "") + ", h, s, mh, mv, p, r, t) SELECT " + k +
	        columns + ", o.h, o.s, o.mh, o.mv, o.p, o.r, o.t FROM " + old + " o",
	    "DROP TABLE " + old,
	};
}

std::string stage(const Plan &plan) {
	std::string columns = model_k(plan) + " AS k, " + record_hash(plan.seed, plan.fields, false) + " AS h";
	columns += plan.check_match() ? ", CASE WHEN " + match_missing(plan) + " THEN 'm'::\"char\" END AS x"
	                              : ", NULL::\"char\" AS x";
	if (plan.keep_match())
		columns += ", CASE WHEN NOT (" + match_missing(plan) + ") THEN " + match_hash(plan) + " END AS mh";
	if (plan.former && !plan.former_lost)
		columns +=
		    ", " + record_hash(plan.seed, plan.former->fields, true) + " AS ho, (" + record_differs(plan) + ") AS d";
	std::string out = create_scratch(plan) + cur(plan) + " AS SELECT " + columns + " FROM " + model(plan);
	if (!plan.only_key.empty())
		out += " WHERE " + only_key_condition(plan, model_key(plan));
	else if (plan.narrow && plan.narrow_stage)
		out += " WHERE " + in_narrowing(*plan.narrow, model_k(plan));
	return out;
}

std::string create_rejected(const Plan &plan) {
	return create_scratch(plan) + rej(plan) +
	       " (key pg_catalog.text, former pg_catalog.text, h pg_catalog.uuid, outcome pg_catalog.text, origin "
	       "pg_catalog.int8, due pg_catalog.timestamptz)";
}

std::string compare(const Plan &plan) {
	std::string changed;
	if (!plan.compare_changes)
		changed = "false";
	else if (plan.resend || !plan.only_key.empty() || (plan.former && plan.former_lost))
		changed = "true";
	else if (plan.former)
		changed = "m.h OPERATOR(pg_catalog.<>) s.h AND NOT (s.h OPERATOR(pg_catalog.=) m.ho AND NOT m.d)";
	else
		changed = "m.h OPERATOR(pg_catalog.<>) s.h";
	std::string valid = plan.check_match() ? " AND m.x IS NULL" : "";
	std::string gone =
	    plan.send_removals ? "CASE WHEN s.s OPERATOR(pg_catalog.=) 's' THEN 'f' ELSE 'r' END" : "'r'";
	std::string create = create_scratch(plan) + dif(plan) + " AS ";
	std::string op =
	    "CASE WHEN m.k IS NULL THEN " + gone + " WHEN s.k IS NULL OR s.s OPERATOR(pg_catalog.=) 's' THEN 'a' ELSE 'c' "
	    "END::\"char\" AS op";
	if (plan.only_removed)
		return create + "SELECT s.k, s.ctid AS at, (" + gone + ")::\"char\" AS op FROM " + snapshot(plan) + " s WHERE " +
		       only_key_condition(plan, stored_key(plan, "s"));
	if (!plan.only_key.empty())
		return create + "SELECT m.k, s.ctid AS at, " + (plan.only_added ? std::string("'a'::\"char\" AS op") : op) + " FROM " +
		       cur(plan) + " m LEFT JOIN " + snapshot(plan) + " s ON m.k = s.k WHERE m.k IS NOT NULL" + valid;
	auto narrowed = [&](const std::string &table) {
		return plan.narrow ? "(SELECT ctid, * FROM " + table + " WHERE " + in_narrowing(*plan.narrow, "k") + ")" : table;
	};
	// The join operator is the key type's own equality, as in the snapshot's primary key; key types are built-in ones here.
	return create + "SELECT coalesce(m.k, s.k) AS k, s.ctid AS at, " + op + " FROM " + narrowed(cur(plan)) + " m FULL JOIN " +
	       narrowed(snapshot(plan)) + " s ON m.k OPERATOR(pg_catalog.=) s.k WHERE CASE WHEN s.k IS NULL THEN m.k IS NOT NULL" + valid +
	       " WHEN m.k IS NULL THEN s.s IS NULL OR s.s OPERATOR(pg_catalog.<>) 'l' ELSE (" + changed + ")" + valid +
	       " END";
}

std::string create_changes(const Plan &plan) {
	return create_scratch(plan) + chg(plan) + " (k " + k_type(plan) + key_definitions(plan) +
	       ", at pg_catalog.tid, op \"char\", phase pg_catalog.int2, former pg_catalog.bool, h pg_catalog.uuid, mh pg_catalog.uuid, "
	       "mv pg_catalog.text, r pg_catalog.text, origin pg_catalog.int8, key pg_catalog.text, pk pg_catalog.text, rec pg_catalog.text, "
	       "size pg_catalog.int4); " +
	       create_scratch(plan) + inv(plan) + " (reason pg_catalog.text, key pg_catalog.text, pk pg_catalog.text, copies pg_catalog.int8)";
}

// Looks at what was refused before; an addition and the removal of a former value have the same key, and are two things.
// OFFSET 0 keeps the payload from being built twice.
std::string plan_sql::insert_changes(const Plan &plan, const std::string &rows) {
	std::string phase = "0", origin = "NULL::pg_catalog.int8", join_rejected;
	if (plan.has_rejected) {
		phase = "CASE WHEN r.key IS NULL THEN 0 WHEN r.due OPERATOR(pg_catalog.>) pg_catalog.now() AND "
		        "(r.outcome OPERATOR(pg_catalog.=) 'unknown' OR r.h IS NOT DISTINCT FROM x.h) THEN 8 ELSE 1 END";
		origin = "CASE WHEN r.h IS NOT DISTINCT FROM x.h THEN r.origin END";
		join_rejected = " LEFT JOIN " + rej(plan) +
		                " r ON r.key OPERATOR(pg_catalog.=) x.key AND r.former "
		                "OPERATOR(pg_catalog.=) " +
		                former_of("x");
	}
	return "INSERT INTO " + chg(plan) + " (k" + key_columns(plan, "") +
	       ", at, op, phase, former, h, mh, mv, r, origin, key, pk, rec, size) SELECT x.k" + key_columns(plan, "x.") +
	       ", x.at, x.op, " + phase + ", x.former, x.h, x.mh, x.mv, x.r, " + origin +
	       ", x.key, x.pk, x.rec, pg_catalog.octet_length(x.rec) FROM (" + rows + " OFFSET 0) x" + join_rejected;
}

namespace {

// What chg keeps of a row of the model; rec_changed is the record without the fields that are sent on creation alone.
std::string change_columns(const Plan &plan, bool rec_changed) {
	auto values = model_key(plan);
	std::string columns = model_k(plan) + " AS k";
	if (plan.key_form() == KeyForm::folded)
		for (std::size_t i = 0; i < values.size(); i++)
			columns += ", " + values[i] + " AS k" + std::to_string(i + 1);
	columns += ", " + record_hash(plan.seed, plan.fields, false) + " AS h";
	columns += plan.keep_match() ? ", " + match_hash(plan) + " AS mh, " + match_json(plan) + " AS mv"
	                             : ", NULL::pg_catalog.uuid AS mh, NULL::pg_catalog.text AS mv";
	columns += ", " + key_text(values) + " AS key, " + key_json(plan.key, values) + " AS pk";
	columns += ", " + payload(plan, true) + " AS rec";
	if (rec_changed)
		columns += ", " + payload(plan, false) + " AS rec_changed";
	return columns;
}

} // namespace

std::string build_changes(const Plan &plan) {
	bool insert_only =
	    std::any_of(plan.fields.begin(), plan.fields.end(), [](const PlanField &f) { return f.insert_only; });
	std::string rec =
	    insert_only ? "CASE WHEN d.op OPERATOR(pg_catalog.=) 'a' THEN m.rec ELSE m.rec_changed END AS rec" : "m.rec";
	return insert_changes(plan, "SELECT m.k" + key_columns(plan, "m.") +
	                                ", d.at, d.op, false AS former, m.h, m.mh, m.mv, NULL::pg_catalog.text AS r, m.key, m.pk, " + rec + " FROM " +
	                                dif(plan) + " d JOIN (SELECT " + change_columns(plan, insert_only) + " FROM " +
	                                model(plan) +
	                                ") m ON m.k OPERATOR(pg_catalog.=) d.k WHERE d.op OPERATOR(pg_catalog.=) ANY (ARRAY['a', 'c']::\"char\"[])");
}

namespace {

// Whether dif has all that a removal tells, so that the snapshot need not be read for it.
bool dif_tells_removals(const Plan &plan) {
	return plan.key_form() == KeyForm::plain && !plan.keep_match() && !plan.removal_payload && !plan.only_removed;
}

// A snapshot row dressed as a model row that has only its key columns, so that expressions over the key can be evaluated.
std::string snapshot_as_model(const Plan &plan) {
	auto values = stored_key(plan, "s");
	std::string columns =
	    "s.k AS \"%k\", s.s AS \"%s\", s.mh AS \"%mh\", s.mv AS \"%mv\", s.p AS \"%p\", s.r AS \"%r\"";
	for (std::size_t i = 0; i < plan.key.size(); i++)
		columns += ", " + values[i] + " AS " + quote_identifier(plan.key[i].name);
	return "(SELECT " + columns + " FROM " + snapshot(plan) + " s) AS " + plan.alias;
}

std::string json_path(const std::string &name) {
	std::vector<std::string> parts(1);
	for (char c : name)
		if (c == '.')
			parts.emplace_back();
		else
			parts.back() += c;
	return text_array(parts);
}

} // namespace

std::string plan_sql::removal_record(const Plan &plan) {
	bool kept = plan.keep_match();
	auto match_value = [&](const PlanField &field) {
		return kept ? "(" + plan.alias + ".\"%mv\"::pg_catalog.json OPERATOR(pg_catalog.#>) " + json_path(field.name) +
		                  ")"
		            : expression_of(field);
	};
	std::string record;
	auto match = match_fields(plan);
	if (plan.clear_removals) {
		std::vector<JsonField> fields;
		for (auto &field : plan.fields)
			fields.push_back({field.name, field.match ? match_value(field) : "NULL::pg_catalog.text", false});
		record = record_json(fields) + "::pg_catalog.text";
	} else if (match.empty()) {
		record = key_json(plan.key, model_key(plan));
	} else if (kept) {
		record = "coalesce(" + plan.alias + ".\"%mv\", '{}')";
	} else {
		record = match_json(plan);
	}
	return plan.removal_payload ? "coalesce(" + plan.alias + ".\"%p\", " + record + ")" : record;
}

namespace {

std::string removal_rows(const Plan &plan, bool former, const std::string &condition) {
	auto values = model_key(plan);
	std::string columns = plan.alias + ".\"%k\" AS k";
	if (plan.key_form() == KeyForm::folded)
		for (std::size_t i = 0; i < values.size(); i++)
			columns += ", " + values[i] + " AS k" + std::to_string(i + 1);
	columns += ", " + plan.alias + ".\"%s\" AS s, " + plan.alias + ".\"%mh\" AS mh, " + plan.alias + ".\"%mv\" AS mv, " +
	           plan.alias + ".\"%r\" AS r, " + key_text(values) + " AS key, " +
	           key_json(plan.key, values) + " AS pk, " + removal_record(plan) + " AS rec";
	return "SELECT m.k" + key_columns(plan, "m.") + ", d.at, 'r'::\"char\" AS op, " + (former ? "true" : "false") +
	       " AS former, NULL::pg_catalog.uuid AS h, " +
	       (former ? "m.mh, m.mv, m.r, "
	               : "NULL::pg_catalog.uuid AS mh, NULL::pg_catalog.text AS mv, NULL::pg_catalog.text AS r, ") +
	       "m.key, m.pk, m.rec FROM " +
	       dif(plan) + " d JOIN (SELECT " + columns + " FROM " + snapshot_as_model(plan) +
	       ") m ON m.k OPERATOR(pg_catalog.=) d.k WHERE " + condition;
}

} // namespace

std::string build_first(const Plan &plan) {
	std::string unusable = null_key(plan);
	if (plan.check_match())
		unusable += " OR " + match_missing(plan);
	return insert_changes(plan, "SELECT m.k" + key_columns(plan, "m.") +
	                                ", NULL::pg_catalog.tid AS at, 'a'::\"char\" AS op, false AS former, m.h, m.mh, m.mv, NULL::pg_catalog.text AS r, m.key, m.pk, m.rec FROM "
	                                "(SELECT " +
	                                change_columns(plan, false) + " FROM " + model(plan) + " WHERE NOT (" + unusable +
	                                ")) m");
}

std::string build_removals(const Plan &plan) {
	if (dif_tells_removals(plan)) {
		std::string name = quote_identifier(plan.key[0].name), key = plan.alias + "." + name;
		return insert_changes(plan, "SELECT " + key +
		                                " AS k, " + plan.alias + ".\"%at\" AS at, 'r'::\"char\" AS op, false AS former, NULL::pg_catalog.uuid AS h, "
		                                "NULL::pg_catalog.uuid AS mh, NULL::pg_catalog.text AS mv, "
		                                "NULL::pg_catalog.text AS r, " +
		                                key_text({key}) + " AS key, " + key_json(plan.key, {key}) + " AS pk, " +
		                                removal_record(plan) + " AS rec FROM (SELECT d.k AS " + name + ", d.at AS \"%at\" FROM " +
		                                dif(plan) + " d WHERE d.op OPERATOR(pg_catalog.=) 'r') AS " + plan.alias);
	}
	return insert_changes(plan, removal_rows(plan, false, "d.op OPERATOR(pg_catalog.=) 'r' AND m.s IS NULL"));
}

std::string add_rename_removals(const Plan &plan) {
	return insert_changes(plan,
	                      removal_rows(plan, true,
	                                   "d.op OPERATOR(pg_catalog.=) 'c' AND m.s IS NULL AND m.mh IS NOT NULL AND NOT "
	                                   "EXISTS (SELECT FROM " +
	                                       cur(plan) + " h WHERE h.mh OPERATOR(pg_catalog.=) m.mh)"));
}

// Only where the value was accepted under another identifier; the same key then counts as removed and added. It moves the
// rows to the end of chg, so removals must be built after it.
std::string mark_renamed(const Plan &plan) {
	return "UPDATE " + chg(plan) + " c SET op = 'a', former = true FROM " + snapshot(plan) +
	       " s WHERE s.k OPERATOR(pg_catalog.=) c.k AND c.op OPERATOR(pg_catalog.=) 'c' AND s.mh IS NOT NULL AND s.mh "
	       "OPERATOR(pg_catalog.<>) c.mh";
}

} // namespace courier
