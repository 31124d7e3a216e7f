#include "core/plan.hpp"

#include <algorithm>
#include <array>
#include <cctype>

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
// Columns of chg: op is a, c or r; phase is 0 normal, 1 refused before, 8 refused before and not due yet. It is filled in
// sending order and read by TID range, which needs no index. former marks a removal that tells of a record's previous match
// value: its outcome does not touch the key in the snapshot.
//
// Duplicate keys are not searched for: a key that the model has twice meets itself in the join back to the model, so chg
// gets more rows than dif has. Only then is it asked which they are.
//
// User expressions appear only in a sub-select whose FROM is the model alone, so no name of ours can capture theirs.

namespace courier {

namespace {

constexpr std::string_view data_schema = "courier_data";
constexpr std::size_t hash_group = 90; // a function takes 100 arguments

template <class Range, class F>
std::string join(const Range &range, std::string_view separator, F write) {
	std::string out;
	bool first = true;
	for (const auto &item : range) {
		if (!first)
			out += separator;
		first = false;
		out += write(item);
	}
	return out;
}

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> prefixes) {
	return std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view p) { return text.starts_with(p); });
}

bool is_text_like(std::string_view type) {
	return starts_with_any(type, {"text", "character", "citext", "name", "bpchar", "varchar"}) || type.ends_with("citext");
}

// The newline ends a comment that the expression may finish with.
std::string expression_of(const PlanField &field) {
	std::string out = "(" + field.expression + "\n)";
	if (field.type == "text" && !field.reads_column)
		out += "::pg_catalog.text"; // a bare literal has no type yet
	return out;
}

std::string former_expression_of(const PlanField &field) {
	return "(" + field.expression + "\n)::" + field.type;
}

// A key column as its equality sees it.
std::string normal_key(const PlanKey &key, const std::string &value) {
	if (key.base_type.starts_with("numeric"))
		return "pg_catalog.trim_scale(" + value + ")";
	if (key.base_type == "double precision" || key.base_type == "real")
		return "(" + value + " OPERATOR(pg_catalog.+) '0'::" + key.base_type + ")";
	if (key.base_type.ends_with("citext"))
		return "pg_catalog.lower(" + value + "::pg_catalog.text)";
	if (key.base_type.starts_with("character(") || key.base_type == "bpchar" || key.base_type == "character")
		return value + "::pg_catalog.text";
	return value;
}

std::string hash_call(std::string_view seed, const std::vector<std::string> &values) {
	std::string out = "courier.hash128(" + quote_literal(seed) + "::pg_catalog.text";
	if (values.size() <= hash_group) {
		for (auto &value : values)
			out += ", " + value;
		return out + ")";
	}
	std::vector<std::string> groups;
	for (std::size_t at = 0; at < values.size(); at += hash_group) {
		std::vector<std::string> group(values.begin() + static_cast<std::ptrdiff_t>(at),
		                               values.begin() +
		                                   static_cast<std::ptrdiff_t>(std::min(at + hash_group, values.size())));
		groups.push_back(hash_call(std::to_string(at), group));
	}
	return hash_call(seed, groups);
}

std::string seed_of(std::string_view seed, const std::vector<PlanField> &fields) {
	std::string out(seed);
	for (auto &field : fields)
		if (field.compared)
			out += '\n' + field.name;
	return out;
}

std::string record_hash(std::string_view seed, const std::vector<PlanField> &fields, bool former) {
	std::vector<std::string> values;
	for (auto &field : fields)
		if (field.compared)
			values.push_back(former ? former_expression_of(field) : expression_of(field));
	return hash_call(seed_of(seed, fields), values);
}

std::string text_array(const std::vector<std::string> &values) {
	return "ARRAY[" + join(values, ", ", [](const std::string &value) { return quote_literal(value); }) +
	       "]::pg_catalog.text[]";
}

struct JsonField {
	std::string name;
	std::string value; // SQL
	bool omit_null = false;
};

std::string record_json(const std::vector<JsonField> &fields) {
	if (fields.empty())
		return "'{}'::pg_catalog.json";
	bool omit = std::any_of(fields.begin(), fields.end(), [](const JsonField &f) { return f.omit_null; });
	return "courier_internal.record_json(ARRAY[" +
	       join(fields, ", ", [](const JsonField &f) { return quote_literal(f.name); }) + "]::pg_catalog.text[], " +
	       (omit ? "ARRAY[" + join(fields, ", ", [](const JsonField &f) { return f.omit_null ? "true" : "false"; }) + "]"
	             : std::string("NULL")) +
	       "::pg_catalog.bool[], ROW(" + join(fields, ", ", [](const JsonField &f) { return f.value; }) + "))";
}

std::string key_json(const std::vector<PlanKey> &key, const std::vector<std::string> &values) {
	std::vector<JsonField> fields;
	for (std::size_t i = 0; i < key.size(); i++)
		fields.push_back({key[i].name, values[i], false});
	// A key column's name is a name, not a path.
	std::string out = "courier_internal.key_json(" + text_array([&] {
		                  std::vector<std::string> names;
		                  for (auto &column : key)
			                  names.push_back(column.name);
		                  return names;
	                  }()) +
	                  ", ROW(" + join(fields, ", ", [](const JsonField &f) { return f.value; }) + "))";
	return out + "::pg_catalog.text";
}

std::string key_text(const std::vector<std::string> &values) {
	return "courier_internal.key_text(ROW(" + join(values, ", ", [](const std::string &v) { return v; }) + "))";
}

std::vector<const PlanField *> match_fields(const Plan &plan) {
	std::vector<const PlanField *> out;
	for (auto &field : plan.fields)
		if (field.match)
			out.push_back(&field);
	return out;
}

// The bare key column that an expression is, by name, or nothing: `id`, `"Id"`.
const PlanKey *bare_key(const Plan &plan, const PlanField &field) {
	for (auto &key : plan.key)
		if (field.expression == quote_identifier(key.name) || field.expression == key.name)
			return &key;
	return nullptr;
}

std::vector<std::string> model_key(const Plan &plan) {
	std::vector<std::string> out;
	for (auto &key : plan.key)
		out.push_back(plan.alias + "." + quote_identifier(key.name));
	return out;
}

std::string folded(const Plan &plan, const std::vector<std::string> &values) {
	std::vector<std::string> normal;
	for (std::size_t i = 0; i < values.size(); i++)
		normal.push_back(normal_key(plan.key[i], values[i]));
	return "CASE WHEN " + join(values, " OR ", [](const std::string &v) { return v + " IS NULL"; }) + " THEN NULL ELSE " +
	       hash_call("key", normal) + " END";
}

std::string model_k(const Plan &plan) {
	auto values = model_key(plan);
	return plan.key_form() == KeyForm::plain ? values[0] : folded(plan, values);
}

std::string match_hash(const Plan &plan) {
	std::vector<std::string> values;
	for (auto *field : match_fields(plan))
		values.push_back(expression_of(*field));
	return hash_call("match", values);
}

std::string match_missing(const Plan &plan) {
	return join(match_fields(plan), " OR ", [](const PlanField *field) {
		std::string value = expression_of(*field);
		std::string out = value + " IS NULL";
		if (is_text_like(field->type))
			out += " OR " + value + "::pg_catalog.text OPERATOR(pg_catalog.=) ''";
		return out;
	});
}

std::string match_json(const Plan &plan) {
	std::vector<JsonField> fields;
	for (auto *field : match_fields(plan))
		fields.push_back({field->name, expression_of(*field), false});
	return record_json(fields) + "::pg_catalog.text";
}

std::string payload(const Plan &plan, bool with_insert_only) {
	std::vector<JsonField> fields;
	for (auto &field : plan.fields)
		if (with_insert_only || !field.insert_only)
			fields.push_back({field.name, expression_of(field), field.omit_null});
	return record_json(fields) + "::pg_catalog.text";
}

std::string key_columns(const Plan &plan, std::string_view prefix) {
	if (plan.key_form() == KeyForm::plain)
		return {};
	std::string out;
	for (std::size_t i = 1; i <= plan.key.size(); i++)
		out += ", " + std::string(prefix) + "k" + std::to_string(i);
	return out;
}

std::string key_definitions(const Plan &plan) {
	if (plan.key_form() == KeyForm::plain)
		return {};
	std::string out;
	for (std::size_t i = 1; i <= plan.key.size(); i++)
		out += ", k" + std::to_string(i) + " " + plan.key[i - 1].type;
	return out;
}

std::string k_type(const Plan &plan) {
	return plan.key_form() == KeyForm::plain ? plan.key[0].type : "pg_catalog.uuid";
}

// Key columns as a snapshot (or chg) row has them.
std::vector<std::string> stored_key(const Plan &plan, const std::string &row) {
	if (plan.key_form() == KeyForm::plain)
		return {row + ".k"};
	std::vector<std::string> out;
	for (std::size_t i = 1; i <= plan.key.size(); i++)
		out.push_back(row + ".k" + std::to_string(i));
	return out;
}

std::string snapshot(const Plan &plan) { return snapshot_table(plan.sync_id); }
std::string cur(const Plan &plan) { return scratch_table(plan.run_id, "cur"); }
std::string dif(const Plan &plan) { return scratch_table(plan.run_id, "dif"); }
std::string chg(const Plan &plan) { return scratch_table(plan.run_id, "chg"); }
std::string rej(const Plan &plan) { return scratch_table(plan.run_id, "rej"); }
std::string inv(const Plan &plan) { return scratch_table(plan.run_id, "inv"); }

std::string model(const Plan &plan) { return plan.relation + " AS " + plan.alias; }

// Whether the record that the present mapping makes of a row differs from the one the former mapping makes. A field that
// was only dropped does not count; one that is new always does.
std::string record_differs(const Plan &plan) {
	std::string out;
	for (auto &field : plan.fields) {
		if (!field.compared)
			continue;
		auto old = std::find_if(plan.former->fields.begin(), plan.former->fields.end(),
		                        [&](const PlanField &f) { return f.name == field.name; });
		if (old == plan.former->fields.end())
			return "true";
		if (old->expression == field.expression && old->type == field.type)
			continue;
		auto text = [](const std::string &value) {
			return record_json({{"f", value, false}}) + "::pg_catalog.text";
		};
		if (!out.empty())
			out += " OR ";
		out += text(expression_of(field)) + " OPERATOR(pg_catalog.<>) " + text(former_expression_of(*old));
	}
	return out.empty() ? "false" : out;
}

std::string only_key_condition(const Plan &plan, const std::vector<std::string> &values) {
	return key_json(plan.key, values) + "::pg_catalog.jsonb OPERATOR(pg_catalog.=) " + quote_literal(plan.only_key) +
	       "::pg_catalog.jsonb";
}

std::string shared_matches(const Plan &plan) {
	return "SELECT mh FROM " + cur(plan) +
	       " WHERE mh IS NOT NULL GROUP BY mh HAVING pg_catalog.count(DISTINCT k) OPERATOR(pg_catalog.>) 1";
}

std::string duplicate_keys(const Plan &plan) {
	return "SELECT c.k, pg_catalog.count(*) AS copies FROM " + cur(plan) + " c WHERE c.k IN (SELECT k FROM " + dif(plan) +
	       " WHERE op OPERATOR(pg_catalog.<>) 'r') GROUP BY c.k HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1";
}

std::string from_tids(const Plan &plan) {
	return "pg_catalog.unnest($1::pg_catalog.tid[]) AS u(t) JOIN " + chg(plan) + " c ON c.ctid OPERATOR(pg_catalog.=) u.t";
}

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

std::string scratch_table(std::int64_t run_id, std::string_view suffix) {
	// A preview has no run; its scratch lives inside a transaction and is named after the backend.
	std::string name = run_id < 0 ? "preview_" + std::to_string(-run_id) : "run_" + std::to_string(run_id);
	return std::string(data_schema) + "." + name + "_" + std::string(suffix);
}

KeyForm key_form(const std::vector<PlanKey> &key) {
	static constexpr std::array<std::string_view, 9> fixed {
	    "smallint",  "integer", "bigint", "uuid", "date", "oid", "timestamp without time zone", "timestamp with time zone",
	    "boolean",
	};
	return key.size() == 1 && std::find(fixed.begin(), fixed.end(), key[0].type) != fixed.end() ? KeyForm::plain
	                                                                                             : KeyForm::folded;
}

KeyForm Plan::key_form() const { return courier::key_form(key); }

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
	       std::equal(a.fields.begin(), a.fields.end(), b.fields.begin(), b.fields.end(), same_field) && a.match == b.match;
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
	return "CREATE TABLE " + snapshot(plan) + " (k " + k_type(plan) + " PRIMARY KEY, h pg_catalog.uuid NOT NULL, s \"char\", " +
	       "mh pg_catalog.uuid, mv pg_catalog.text, p pg_catalog.text, r pg_catalog.text, t pg_catalog.timestamptz" +
	       key_definitions(plan) + ") WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05)";
}

std::vector<std::string> convert_snapshot(const Plan &plan, const std::vector<PlanKey> &former) {
	std::string old = scratch_table(plan.run_id, "old");
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
	    "INSERT INTO " + snapshot(plan) + " (k" + key_columns(plan, "") + ", h, s, mh, mv, p, r, t) SELECT " + k + columns +
	        ", o.h, o.s, o.mh, o.mv, o.p, o.r, o.t FROM " + old + " o",
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
		columns += ", " + record_hash(plan.seed, plan.former->fields, true) + " AS ho, (" + record_differs(plan) + ") AS d";
	std::string out = "CREATE UNLOGGED TABLE " + cur(plan) + " AS SELECT " + columns + " FROM " + model(plan);
	if (!plan.only_key.empty())
		out += " WHERE " + only_key_condition(plan, model_key(plan));
	return out;
}

std::string create_rejected(const Plan &plan) {
	return "CREATE UNLOGGED TABLE " + rej(plan) +
	       " (key pg_catalog.text, h pg_catalog.uuid, outcome pg_catalog.text, origin pg_catalog.int8, "
	       "due pg_catalog.timestamptz)";
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
	std::string create = "CREATE UNLOGGED TABLE " + dif(plan) + " AS ";
	std::string op = "CASE WHEN m.k IS NULL THEN 'r' WHEN s.k IS NULL OR s.s OPERATOR(pg_catalog.=) 's' THEN 'a' ELSE 'c' "
	                 "END::\"char\" AS op";
	if (plan.only_removed)
		return create + "SELECT s.k, 'r'::\"char\" AS op FROM " + snapshot(plan) + " s WHERE " +
		       only_key_condition(plan, stored_key(plan, "s"));
	if (!plan.only_key.empty())
		return create + "SELECT m.k, " + (plan.only_added ? std::string("'a'::\"char\" AS op") : op) + " FROM " + cur(plan) + " m LEFT JOIN " + snapshot(plan) +
		       " s ON m.k = s.k WHERE m.k IS NOT NULL" + valid;
	// The join operator is the key type's own equality, as in the snapshot's primary key; key types are built-in ones here.
	return create + "SELECT coalesce(m.k, s.k) AS k, " + op + " FROM " + cur(plan) + " m FULL JOIN " + snapshot(plan) +
	       " s ON m.k OPERATOR(pg_catalog.=) s.k WHERE CASE WHEN s.k IS NULL THEN m.k IS NOT NULL" + valid +
	       " WHEN m.k IS NULL THEN s.s IS NULL OR s.s OPERATOR(pg_catalog.<>) 'l' ELSE (" + changed + ")" + valid + " END";
}

std::string create_changes(const Plan &plan) {
	return "CREATE UNLOGGED TABLE " + chg(plan) + " (k " + k_type(plan) + key_definitions(plan) +
	       ", op \"char\", phase pg_catalog.int2, former pg_catalog.bool, h pg_catalog.uuid, mh pg_catalog.uuid, "
	       "mv pg_catalog.text, origin pg_catalog.int8, key pg_catalog.text, pk pg_catalog.text, rec pg_catalog.text, "
	       "size pg_catalog.int4); CREATE UNLOGGED TABLE " +
	       inv(plan) + " (reason pg_catalog.text, key pg_catalog.text, pk pg_catalog.text, copies pg_catalog.int8)";
}

namespace {

// Wraps rows (k, k1.., op, former, h, mh, mv, key, pk, rec) into an INSERT that looks at what was refused before.
// OFFSET 0 keeps the payload from being built twice.
std::string insert_changes(const Plan &plan, const std::string &rows) {
	std::string phase = "0", origin = "NULL::pg_catalog.int8", join_rejected;
	if (plan.has_rejected) {
		phase = "CASE WHEN r.key IS NULL THEN 0 WHEN r.due OPERATOR(pg_catalog.>) pg_catalog.now() AND "
		        "(r.outcome OPERATOR(pg_catalog.=) 'unknown' OR r.h IS NOT DISTINCT FROM x.h) THEN 8 ELSE 1 END";
		origin = "CASE WHEN r.h IS NOT DISTINCT FROM x.h THEN r.origin END";
		join_rejected = " LEFT JOIN " + rej(plan) + " r ON r.key OPERATOR(pg_catalog.=) x.key";
	}
	return "INSERT INTO " + chg(plan) + " (k" + key_columns(plan, "") +
	       ", op, phase, former, h, mh, mv, origin, key, pk, rec, size) SELECT x.k" + key_columns(plan, "x.") + ", x.op, " +
	       phase + ", x.former, x.h, x.mh, x.mv, " + origin +
	       ", x.key, x.pk, x.rec, pg_catalog.octet_length(x.rec) FROM (" + rows + " OFFSET 0) x" + join_rejected;
}

} // namespace

std::string build_changes(const Plan &plan) {
	auto values = model_key(plan);
	std::string columns = model_k(plan) + " AS k";
	if (plan.key_form() == KeyForm::folded)
		for (std::size_t i = 0; i < values.size(); i++)
			columns += ", " + values[i] + " AS k" + std::to_string(i + 1);
	columns += ", " + record_hash(plan.seed, plan.fields, false) + " AS h";
	columns += plan.keep_match() ? ", " + match_hash(plan) + " AS mh, " + match_json(plan) + " AS mv"
	                             : ", NULL::pg_catalog.uuid AS mh, NULL::pg_catalog.text AS mv";
	columns += ", " + key_text(values) + " AS key, " + key_json(plan.key, values) + " AS pk";
	bool insert_only = std::any_of(plan.fields.begin(), plan.fields.end(), [](const PlanField &f) { return f.insert_only; });
	columns += ", " + payload(plan, true) + " AS rec";
	if (insert_only)
		columns += ", " + payload(plan, false) + " AS rec_changed";
	std::string rec = insert_only ? "CASE WHEN d.op OPERATOR(pg_catalog.=) 'a' THEN m.rec ELSE m.rec_changed END AS rec"
	                              : "m.rec";
	return insert_changes(plan, "SELECT m.k" + key_columns(plan, "m.") +
	                                ", d.op, false AS former, m.h, m.mh, m.mv, m.key, m.pk, " + rec + " FROM " + dif(plan) +
	                                " d JOIN (SELECT " + columns + " FROM " + model(plan) +
	                                ") m ON m.k OPERATOR(pg_catalog.=) d.k WHERE d.op OPERATOR(pg_catalog.<>) 'r'");
}

namespace {

// A snapshot row dressed as a model row that has only its key columns, so that expressions over the key can be evaluated.
std::string snapshot_as_model(const Plan &plan) {
	auto values = stored_key(plan, "s");
	std::string columns = "s.k AS \"%k\", s.s AS \"%s\", s.mh AS \"%mh\", s.mv AS \"%mv\", s.p AS \"%p\"";
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

std::string removal_record(const Plan &plan) {
	bool kept = plan.keep_match();
	auto match_value = [&](const PlanField &field) {
		return kept ? "(" + plan.alias + ".\"%mv\"::pg_catalog.json OPERATOR(pg_catalog.#>) " + json_path(field.name) + ")"
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

std::string removal_rows(const Plan &plan, bool former, const std::string &condition) {
	auto values = model_key(plan);
	std::string columns = plan.alias + ".\"%k\" AS k";
	if (plan.key_form() == KeyForm::folded)
		for (std::size_t i = 0; i < values.size(); i++)
			columns += ", " + values[i] + " AS k" + std::to_string(i + 1);
	columns += ", " + plan.alias + ".\"%s\" AS s, " + plan.alias + ".\"%mh\" AS mh, " + key_text(values) + " AS key, " +
	           key_json(plan.key, values) + " AS pk, " + removal_record(plan) + " AS rec";
	return "SELECT m.k" + key_columns(plan, "m.") + ", 'r'::\"char\" AS op, " + (former ? "true" : "false") +
	       " AS former, NULL::pg_catalog.uuid AS h, NULL::pg_catalog.uuid AS mh, NULL::pg_catalog.text AS mv, "
	       "m.key, m.pk, m.rec FROM " +
	       dif(plan) + " d JOIN (SELECT " + columns + " FROM " + snapshot_as_model(plan) +
	       ") m ON m.k OPERATOR(pg_catalog.=) d.k WHERE " + condition;
}

} // namespace

std::string build_removals(const Plan &plan) {
	return insert_changes(plan, removal_rows(plan, false, "d.op OPERATOR(pg_catalog.=) 'r' AND m.s IS NULL"));
}

std::string add_rename_removals(const Plan &plan) {
	return insert_changes(plan, removal_rows(plan, true,
	                                         "d.op OPERATOR(pg_catalog.=) 'c' AND m.s IS NULL AND m.mh IS NOT NULL AND m.mh "
	                                         "NOT IN (SELECT mh FROM " +
	                                             cur(plan) + " WHERE mh IS NOT NULL)"));
}

// Only where the value was accepted under another identifier; the same key then counts as removed and added.
std::string mark_renamed(const Plan &plan) {
	return "UPDATE " + chg(plan) + " c SET op = 'a' FROM " + snapshot(plan) +
	       " s WHERE s.k OPERATOR(pg_catalog.=) c.k AND c.op OPERATOR(pg_catalog.=) 'c' AND s.mh IS NOT NULL AND s.mh "
	       "OPERATOR(pg_catalog.<>) c.mh";
}

std::string count_rows(const Plan &plan) {
	return "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE k IS NULL), pg_catalog.count(*) FILTER (WHERE k IS "
	       "NOT NULL AND x IS NOT NULL) FROM " +
	       cur(plan);
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

std::string note_duplicates(const Plan &plan) {
	return "INSERT INTO " + inv(plan) +
	       " SELECT 'duplicate_key', pg_catalog.min(c.key), pg_catalog.min(c.pk), d.copies FROM (" + duplicate_keys(plan) +
	       ") d JOIN " + chg(plan) + " c ON c.k OPERATOR(pg_catalog.=) d.k GROUP BY d.k, d.copies";
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
	return "INSERT INTO " + inv(plan) + " SELECT 'null_match', " + key_text(values) + ", " + key_json(plan.key, values) +
	       ", 1 FROM " + model(plan) + " WHERE (" +
	       join(values, " AND ", [](const std::string &v) { return v + " IS NOT NULL"; }) + ") AND (" + match_missing(plan) +
	       ") LIMIT 1000";
}

std::string drop_held_removals(const Plan &plan) {
	return "DELETE FROM " + snapshot(plan) + " s USING " + dif(plan) +
	       " d WHERE d.op OPERATOR(pg_catalog.=) 'r' AND d.k OPERATOR(pg_catalog.=) s.k AND s.mh IN (SELECT mh FROM " +
	       cur(plan) + " WHERE mh IS NOT NULL)";
}

std::string forget_removed(const Plan &plan) {
	std::string gone = " d WHERE d.op OPERATOR(pg_catalog.=) 'r' AND d.k OPERATOR(pg_catalog.=) s.k";
	if (plan.send_removals)
		return "DELETE FROM " + snapshot(plan) + " s USING " + dif(plan) + gone + " AND s.s OPERATOR(pg_catalog.=) 's'";
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
	       " s WHERE s.s OPERATOR(pg_catalog.=) 'l' AND s.t OPERATOR(pg_catalog.<) pg_catalog.now() OPERATOR(pg_catalog.-) "
	       "$1::pg_catalog.interval";
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
	       ")) m WHERE m.k OPERATOR(pg_catalog.=) s.k AND s.h OPERATOR(pg_catalog.=) m.h AND s.mh IS DISTINCT FROM m.mh";
}

std::string stale_rejected(const Plan &plan) {
	return "SELECT r.key FROM " + rej(plan) + " r WHERE NOT EXISTS (SELECT FROM " + chg(plan) +
	       " c WHERE c.key OPERATOR(pg_catalog.=) r.key)";
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
	std::string from = model(plan);
	if (plan.check_match())
		from += " WHERE NOT (" + match_missing(plan) + ")";
	std::string unusable = "SELECT k FROM " + cur(plan) +
	                       " WHERE k IS NOT NULL GROUP BY k HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1";
	std::string shared = plan.keep_match() ? " AND m.mh NOT IN (" + shared_matches(plan) + ")" : "";
	return "INSERT INTO " + snapshot(plan) + " AS s (k" + key_columns(plan, "") + ", h, mh, mv) SELECT m.k" +
	       key_columns(plan, "m.") + ", m.h, m.mh, m.mv FROM (SELECT " + columns + " FROM " + from +
	       ") m WHERE m.k IS NOT NULL AND m.k NOT IN (" + unusable + ")" + shared +
	       " ON CONFLICT (k) DO UPDATE SET h = excluded.h, s = NULL, mh = excluded.mh, mv = excluded.mv, p = NULL, t = NULL";
}

std::string count_changes(const Plan &plan) {
	auto count = [](std::string_view op) {
		return "pg_catalog.count(*) FILTER (WHERE op OPERATOR(pg_catalog.=) '" + std::string(op) + "')";
	};
	return "SELECT " + count("a") + ", " + count("c") + ", " + count("r") + " FROM " + chg(plan) +
	       " WHERE phase OPERATOR(pg_catalog.<) 8";
}

std::string page(const Plan &plan) {
	std::string known = plan.read_snapshot ? "s.mv, s.r, " + std::string(plan.keep_payload ? "s.p" : "NULL::pg_catalog.text")
	                                       : "NULL::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text";
	std::string join_snapshot = plan.read_snapshot ? " LEFT JOIN " + snapshot(plan) + " s ON s.k OPERATOR(pg_catalog.=) c.k"
	                                               : "";
	return "SELECT c.tid, c.op, c.phase, c.former, c.h, coalesce(c.origin, $4::pg_catalog.int8), c.key, c.pk, c.rec, "
	       "courier.hash128(" +
	       quote_literal(plan.seed) +
	       "::pg_catalog.text, c.key, c.op::pg_catalog.text, c.rec, coalesce(c.origin, $4::pg_catalog.int8))::pg_catalog.text, " +
	       known +
	       ", c.size FROM (SELECT ctid AS tid, i.*, pg_catalog.sum(i.size) OVER (ROWS UNBOUNDED PRECEDING) "
	       "OPERATOR(pg_catalog.-) i.size AS bytes FROM " +
	       chg(plan) +
	       " i WHERE ctid OPERATOR(pg_catalog.>) $1::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) $2::pg_catalog.tid AND "
	       "phase OPERATOR(pg_catalog.<) 8) c" +
	       join_snapshot + " WHERE c.bytes OPERATOR(pg_catalog.<) $3::pg_catalog.int8 ORDER BY c.tid";
}

std::string settle_accepted(const Plan &plan) {
	return "INSERT INTO " + snapshot(plan) + " AS s (k" + key_columns(plan, "") + ", h, mh, mv, p, r) SELECT c.k" +
	       key_columns(plan, "c.") + ", c.h, c.mh, c.mv, " +
	       (plan.keep_payload ? "c.rec" : "NULL::pg_catalog.text") +
	       ", u.r FROM unnest($1::pg_catalog.tid[], $2::pg_catalog.text[]) AS u(t, r) JOIN " + chg(plan) +
	       " c ON c.ctid OPERATOR(pg_catalog.=) u.t ON CONFLICT (k) DO UPDATE SET h = excluded.h, s = NULL, mh = excluded.mh, "
	       "mv = excluded.mv, p = excluded.p, r = coalesce(excluded.r, s.r), t = NULL";
}

std::string settle_skipped(const Plan &plan) {
	return "INSERT INTO " + snapshot(plan) + " AS s (k" + key_columns(plan, "") + ", h, s, mh, mv) SELECT c.k" +
	       key_columns(plan, "c.") + ", c.h, 's', c.mh, c.mv FROM " + from_tids(plan) +
	       " ON CONFLICT (k) DO UPDATE SET h = excluded.h, s = 's', mh = excluded.mh, mv = excluded.mv, p = NULL, t = NULL";
}

std::string settle_removed(const Plan &plan) {
	return "DELETE FROM " + snapshot(plan) + " s USING " + from_tids(plan) +
	       " WHERE s.k OPERATOR(pg_catalog.=) c.k AND NOT c.former";
}

std::string accepted(const Plan &plan) {
	auto values = stored_key(plan, "s");
	return "SELECT pg_catalog.json_build_object('key', " + key_text(values) + ", 'primary_key', " +
	       key_json(plan.key, values) +
	       "::pg_catalog.json, 'state', CASE s.s WHEN 's' THEN 'skipped' WHEN 'l' THEN 'left' ELSE 'accepted' END, "
	       "'hash', s.h, 'match', s.mv::pg_catalog.json, 'payload', s.p::pg_catalog.json, 'remote_id', s.r)::pg_catalog.text "
	       "FROM " +
	       snapshot(plan) + " s ORDER BY s.k";
}

} // namespace courier
