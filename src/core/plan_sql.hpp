#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/plan.hpp"

// The words that the statements of plan*.cpp are made of. Names of tables, key and match expressions, hashes and JSON.
namespace courier::plan_sql {

template <class Range, class F> std::string join(const Range &range, std::string_view separator, F write) {
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

struct JsonField {
	std::string name;
	std::string value; // SQL
	bool omit_null = false;
};

bool is_text_like(std::string_view type);

// A field's value, under the present and under a former mapping.
std::string expression_of(const PlanField &field);
std::string former_expression_of(const PlanField &field);
std::string record_hash(std::string_view seed, const std::vector<PlanField> &fields, bool former);
std::string record_differs(const Plan &plan);
std::string payload(const Plan &plan, bool with_insert_only);

std::string text_array(const std::vector<std::string> &values);
std::string record_json(const std::vector<JsonField> &fields);
std::string key_json(const std::vector<PlanKey> &key, const std::vector<std::string> &values);
std::string key_text(const std::vector<std::string> &values);

// The key: its columns in the model, its columns in a snapshot or chg row, and what they fold to.
std::vector<std::string> model_key(const Plan &plan);
std::vector<std::string> stored_key(const Plan &plan, const std::string &row);
std::string null_key(const Plan &plan); // a condition over the model
std::string folded(const Plan &plan, const std::vector<std::string> &values);
std::string model_k(const Plan &plan);
std::string k_type(const Plan &plan);
std::string key_columns(const Plan &plan, std::string_view prefix); // ", k1, k2" of the folded form
std::string key_definitions(const Plan &plan);
const PlanKey *bare_key(const Plan &plan, const PlanField &field);
std::string only_key_condition(const Plan &plan, const std::vector<std::string> &values);

std::vector<const PlanField *> match_fields(const Plan &plan);
std::string match_hash(const Plan &plan);
std::string match_missing(const Plan &plan);
std::string match_json(const Plan &plan);
std::string shared_matches(const Plan &plan); // hashes that several keys have
std::string duplicate_keys(const Plan &plan);

// Which of the changes of one key a row of chg is: the match value whose removal it is, as text, or ''.
std::string former_of(std::string_view row);
// The record of a removal, from a row dressed as the model (alias) with "%mv" and "%p".
std::string removal_record(const Plan &plan);
// Rows (k, k1.., op, former, h, mh, mv, r, key, pk, rec) into chg, with what was refused before.
std::string insert_changes(const Plan &plan, const std::string &rows);

std::string snapshot(const Plan &plan);
std::string cur(const Plan &plan);
std::string dif(const Plan &plan);
std::string chg(const Plan &plan);
std::string rej(const Plan &plan);
std::string inv(const Plan &plan);
std::string model(const Plan &plan);

// Where records under way are: the changes of a run, or those that a job has (plan_jobs.cpp), which have the same columns.
std::string source(const Plan &plan, Held held);
std::string from_tids(const Plan &plan, Held held); // those of $1, as c

} // namespace courier::plan_sql
