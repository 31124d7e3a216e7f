#include <algorithm>
#include <array>
#include <map>

#include "core/plan_sql.hpp"
#include "pg/comparison.hpp"
#include "pg/run_worker.hpp"
#include "pg/spi.hpp"

// The facts about one record, for courier.explain_record: what the model says, what the mapping makes of it, what the snapshot
// keeps. The statements are made from the same words as those of a run (core/plan_sql.hpp), but look at one key: they use an
// index of the model where there is one, write nothing, and take no lock that a run would wait for. What follows from the
// facts is said in SQL (62_explain.sql).
//
// An item is a name and a text. Items of a model row come once per copy, so that the copies of a key can be seen.

namespace courier::pg {

namespace {

using namespace plan_sql;
using Key = std::map<std::string, std::string>; // column to value, as text: a number keeps its digits

constexpr int most_copies = 10;

class Facts {
public:
	Facts(FunctionCallInfo fcinfo) : result_(fcinfo) {}
	void add(const std::string &item, const std::optional<std::string> &value, int copy = 0) {
		result_.add({item, value, copy});
	}
	void flag(const std::string &item, bool value) { add(item, value ? "true" : "false"); }

private:
	ResultSet result_;
};

// JSON text of bytea is base64, of others something else that their input function may not take.
bool reads_json_text(const PlanKey &key) {
	static constexpr std::array<std::string_view, 10> types {"smallint",
	                                                         "integer",
	                                                         "bigint",
	                                                         "uuid",
	                                                         "date",
	                                                         "text",
	                                                         "character varying",
	                                                         "numeric",
	                                                         "timestamp with time zone",
	                                                         "timestamp without time zone"};
	return std::find(types.begin(), types.end(), key.base_type) != types.end();
}

// The given key as SQL constants of the columns' types; nothing where a type cannot be read back from JSON.
std::optional<std::vector<std::string>> key_constants(const std::vector<PlanKey> &key, const Key &given) {
	std::vector<std::string> values;
	for (auto &column : key) {
		if (!reads_json_text(column))
			return std::nullopt;
		values.push_back(quote_literal(given.at(column.name)) + "::" + column.type);
	}
	return values;
}

std::string model_condition(const Plan &plan, const std::optional<std::vector<std::string>> &constants) {
	auto columns = model_key(plan);
	if (!constants)
		return only_key_condition(plan, columns);
	std::string out;
	for (std::size_t i = 0; i < columns.size(); i++)
		out += (i ? " AND " : "") + columns[i] + " = " + (*constants)[i];
	return out;
}

Rows query_as_owner(const RunDefinition &run, const std::string &sql) {
	UserContext context(run.as_owner());
	return spi_execute(sql);
}

// The same key as the snapshot wrote it down: with the types of then.
void add_snapshot(Facts &facts, const RunDefinition &run, const Key &given) {
	Plan stored = run.plan;
	stored.key = run.former->key;
	auto constants = key_constants(stored.key, given);
	std::string condition = only_key_condition(stored, stored_key(stored, "s"));
	if (constants)
		condition = "s.k OPERATOR(pg_catalog.=) " +
		            (stored.key_form() == KeyForm::plain ? (*constants)[0] : folded(stored, *constants));
	Rows rows = query_as_owner(
	    run, "SELECT s.h::pg_catalog.text, s.s, s.p, s.r, s.mv, s.t::pg_catalog.text, s.mh::pg_catalog.text FROM " +
	             snapshot(stored) + " s WHERE " + condition + " LIMIT 1");
	if (rows.empty())
		return;
	auto text = [&](std::size_t column) { return rows.get<std::optional<std::string>>(0, column); };
	std::string state = text(1).value_or("");
	facts.add("snapshot", state == "s" ? "skipped" : state == "l" ? "left" : "accepted");
	facts.add("snapshot_hash", text(0));
	facts.add("accepted_payload", text(2));
	facts.add("remote_id", text(3));
	facts.add("accepted_match", text(4));
	facts.add("left_at", text(5));
	facts.add("snapshot_match_hash", text(6));
	if (text(6))
		facts.flag("match_held", !query_as_owner(run, "SELECT 1 FROM " + model(run.plan) + " WHERE " +
		                                                  match_hash(run.plan) + " OPERATOR(pg_catalog.=) " +
		                                                  quote_literal(*text(6)) + "::pg_catalog.uuid LIMIT 1")
		                              .empty());
}

// Other rows of the model with the same match values: none of them is sent.
void add_shared(Facts &facts, const RunDefinition &run, const std::string &k, const std::string &hash) {
	const Plan &plan = run.plan;
	Rows rows =
	    query_as_owner(run, "SELECT " + key_text(model_key(plan)) + " FROM " + model(plan) + " WHERE " + model_k(plan) +
	                            " OPERATOR(pg_catalog.<>) " + quote_literal(k) + "::" + k_type(plan) + " AND NOT (" +
	                            match_missing(plan) + ") AND " + match_hash(plan) + " OPERATOR(pg_catalog.=) " +
	                            quote_literal(hash) + "::pg_catalog.uuid LIMIT 3");
	for (std::size_t row = 0; row < rows.size(); row++)
		facts.add("shares_match_with", rows.get<std::string>(row, 0));
}

// Whether the model had a row of this key.
bool add_model_rows(Facts &facts, const RunDefinition &run, const std::optional<std::vector<std::string>> &constants) {
	const Plan &plan = run.plan;
	auto key = model_key(plan);
	bool both = plan.former && !plan.former_lost;
	bool match = plan.keep_match();
	std::string sql =
	    "SELECT " + key_text(key) + ", " + model_k(plan) + "::pg_catalog.text, pg_catalog.row_to_json(" + plan.alias +
	    ".*)::pg_catalog.text, " + payload(plan, true) + ", " + payload(plan, false) + ", " +
	    record_hash(plan.seed, plan.fields, false) + "::pg_catalog.text, " +
	    (plan.check_match() ? "(" + match_missing(plan) + ")" : std::string("false")) + ", " +
	    (both ? record_hash(plan.seed, plan.former->fields, true) + "::pg_catalog.text, (" + record_differs(plan) + ")"
	          : std::string("NULL::pg_catalog.text, NULL::pg_catalog.bool")) +
	    ", " + (match ? match_hash(plan) + "::pg_catalog.text" : std::string("NULL::pg_catalog.text")) + ", " +
	    key_json(plan.key, key) + " FROM " + model(plan) + " WHERE " + model_condition(plan, constants) + " LIMIT " +
	    std::to_string(most_copies);
	Rows rows = query_as_owner(run, sql);
	for (std::size_t row = 0; row < rows.size(); row++) {
		int copy = static_cast<int>(row) + 1;
		auto text = [&](std::size_t column) { return rows.get<std::optional<std::string>>(row, column); };
		facts.add("key", text(0), copy);
		facts.add("primary_key", text(10), copy);
		facts.add("row", text(2), copy);
		facts.add("record_added", text(3), copy);
		facts.add("record_changed", text(4), copy);
		facts.add("hash", text(5), copy);
		facts.add("match_missing", rows.get<std::optional<bool>>(row, 6).value_or(true) ? "true" : "false", copy);
		facts.add("former_hash", text(7), copy);
		facts.add("differs_from_former", rows.get<std::optional<bool>>(row, 8).value_or(false) ? "true" : "false",
		          copy);
		facts.add("match_hash", text(9), copy);
		if (row == 0 && text(9) && !rows.get<std::optional<bool>>(row, 6).value_or(true))
			add_shared(facts, run, text(1).value_or(""), *text(9));
	}
	return !rows.empty();
}

void add_settings(Facts &facts, const RunDefinition &run, const OperationMap &operations) {
	const Plan &plan = run.plan;
	auto name = [](std::optional<Operation> operation) {
		return operation ? std::optional(std::string(to_text(*operation))) : std::nullopt;
	};
	facts.add("operation_added", name(operations.added));
	facts.add("operation_changed", name(operations.changed));
	facts.add("operation_removed", name(operations.removed));
	facts.flag("compare_changes", plan.compare_changes);
	facts.flag("keep_left", plan.keep_left);
	facts.flag("send_removals", plan.send_removals);
	facts.flag("rename_by_removal", plan.rename_by_removal);
	facts.flag("baseline", run.is_baseline());
	facts.flag("former", plan.former.has_value());
	facts.flag("former_lost", plan.former_lost);
	for (auto &field : plan.fields)
		if (field.compared)
			facts.add("compared", field.name);
}

bool same_names(const std::vector<PlanKey> &a, const std::vector<PlanKey> &b) {
	return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](auto &x, auto &y) { return x.name == y.name; });
}

} // namespace

// courier_internal.record_facts(name text, primary_key text) RETURNS TABLE (item text, value text, copy integer)
COURIER_FUNCTION(courier_record_facts) {
	return enter_cpp([&]() -> Datum {
		Facts facts(fcinfo);
		Spi spi;
		std::string sync = text_argument(fcinfo, 0), key = text_argument(fcinfo, 1);
		Rows rows = spi_execute("SELECT courier_internal.sync_definition($1)", sync);
		RunDefinition run = read_definition(rows.get<std::string>(0, 0));
		run.run_id = run.plan.run_id = run.origin_run_id = -static_cast<std::int64_t>(MyProcPid);
		complete_plan(run);
		OperationMap operations;
		auto client = open_client(run, operations);
		run.plan.only_key = key;
		Rows parts = spi_execute("SELECT e.key, e.value FROM pg_catalog.jsonb_each_text($1) e", Jsonb {key});
		Key given;
		for (std::size_t row = 0; row < parts.size(); row++)
			given[parts.get<std::string>(row, 0)] = parts.get<std::string>(row, 1);
		add_settings(facts, run, operations);

		auto constants = key_constants(run.plan.key, given);
		if (constants)
			facts.add("key", query_as_owner(run, "SELECT " + key_text(*constants)).get<std::string>(0, 0));
		bool in_model = add_model_rows(facts, run, constants);
		bool exists = !spi_execute("SELECT pg_catalog.to_regclass($1)::pg_catalog.oid", snapshot_table(run.sync_id))
		                   .is_null(0, 0);
		if (run.former && !same_names(run.former->key, run.plan.key)) {
			facts.flag("key_changed", true);
		} else if (run.former && !exists) {
			facts.flag("snapshot_gone", true);
		} else if (run.former) {
			add_snapshot(facts, run, given);
			// A run that sees NULL keys sends no removals; asked only where one is in question.
			if (!in_model && run.plan.send_removals && !run.options.remove_despite_null_keys)
				facts.flag("null_keys", !query_as_owner(run, "SELECT 1 FROM " + model(run.plan) + " WHERE " +
				                                                 model_k(run.plan) + " IS NULL LIMIT 1")
				                             .empty());
		}
		return Datum(0);
	});
}

} // namespace courier::pg
