#include "core/plan_sql.hpp"

#include <algorithm>

namespace courier::plan_sql {

namespace {

constexpr std::size_t hash_group = 90; // a function takes 100 arguments

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> prefixes) {
	return std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view p) { return text.starts_with(p); });
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

} // namespace

bool is_text_like(std::string_view type) {
	return starts_with_any(type, {"text", "character", "citext", "name", "bpchar", "varchar"}) ||
	       type.ends_with("citext");
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

std::string record_json(const std::vector<JsonField> &fields) {
	if (fields.empty())
		return "'{}'::pg_catalog.json";
	bool omit = std::any_of(fields.begin(), fields.end(), [](const JsonField &f) { return f.omit_null; });
	// A function has at most 100 arguments.
	bool one_by_one = fields.size() <= 98;
	return std::string("courier_internal.") + (one_by_one ? "values_json" : "record_json") + "(ARRAY[" +
	       join(fields, ", ", [](const JsonField &f) { return quote_literal(f.name); }) + "]::pg_catalog.text[], " +
	       (omit
	            ? "ARRAY[" + join(fields, ", ", [](const JsonField &f) { return f.omit_null ? "true" : "false"; }) + "]"
	            : std::string("NULL")) +
	       "::pg_catalog.bool[], " + (one_by_one ? "" : "ROW(") +
	       join(fields, ", ", [](const JsonField &f) { return f.value; }) + (one_by_one ? ")" : "))");
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
	                  ", " + join(fields, ", ", [](const JsonField &f) { return f.value; }) + ")";
	return out + "::pg_catalog.text";
}

std::string key_text(const std::vector<std::string> &values) {
	return "courier_internal.key_text(" + join(values, ", ", [](const std::string &v) { return v; }) + ")";
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

std::string null_key(const Plan &plan) {
	return "(" + join(model_key(plan), " OR ", [](const std::string &value) { return value + " IS NULL"; }) + ")";
}

std::string folded(const Plan &plan, const std::vector<std::string> &values) {
	std::vector<std::string> normal;
	for (std::size_t i = 0; i < values.size(); i++)
		normal.push_back(normal_key(plan.key[i], values[i]));
	return "CASE WHEN " + join(values, " OR ", [](const std::string &v) { return v + " IS NULL"; }) +
	       " THEN NULL ELSE " + hash_call("key", normal) + " END";
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

std::string snapshot(const Plan &plan) {
	return snapshot_table(plan.sync_id);
}
std::string cur(const Plan &plan) {
	return scratch_table(plan, "cur");
}
std::string dif(const Plan &plan) {
	return scratch_table(plan, "dif");
}
std::string chg(const Plan &plan) {
	return scratch_table(plan, "chg");
}
std::string rej(const Plan &plan) {
	return scratch_table(plan, "rej");
}
std::string inv(const Plan &plan) {
	return scratch_table(plan, "inv");
}

std::string source(const Plan &plan, Held held) {
	return held == Held::by_run ? chg(plan) : jobs_table(plan.sync_id);
}

std::string from_tids(const Plan &plan, Held held) {
	return "pg_catalog.unnest($1::pg_catalog.tid[]) AS u(t) JOIN " + source(plan, held) +
	       " c ON c.ctid OPERATOR(pg_catalog.=) u.t";
}

std::string former_of(std::string_view row) {
	std::string c(row);
	return "CASE WHEN " + c + ".former AND " + c + ".op OPERATOR(pg_catalog.=) 'r' THEN " + c +
	       ".mh::pg_catalog.text ELSE '' END";
}

std::string model(const Plan &plan) {
	return plan.relation + " AS " + plan.alias;
}

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
		auto text = [](const std::string &value) { return record_json({{"f", value, false}}) + "::pg_catalog.text"; };
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
	return "SELECT c.k, pg_catalog.count(*) AS copies FROM " + cur(plan) + " c WHERE c.k IN (SELECT k FROM " +
	       dif(plan) +
	       " WHERE op OPERATOR(pg_catalog.<>) 'r') GROUP BY c.k HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1";
}

} // namespace courier::plan_sql
