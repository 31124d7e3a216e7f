#include "pg/run_definition.hpp"

#include <algorithm>
#include <cctype>
#include <unordered_map>

#include "destinations/message.hpp"
#include "destinations/operations.hpp"
#include "destinations/registry.hpp"
#include "pg/model_shape.hpp"
#include "pg/spi.hpp"
#include "pg/subtransaction.hpp"

namespace courier::pg {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

template <class Json> std::string text_of(const Json &object, const char *name, std::string otherwise = {}) {
	auto at = object.find(name);
	return at == object.end() || !at->is_string() ? otherwise : at->template get<std::string>();
}

PlanFormat format_from(const json &stored) {
	PlanFormat format;
	for (auto &key : stored.at("key"))
		format.key.push_back({key.at("name"), key.at("type"), key.at("base_type")});
	for (auto &field : stored.at("fields")) {
		PlanField out;
		out.name = field.at("name");
		out.expression = field.at("expression");
		out.type = field.at("type");
		format.fields.push_back(out);
	}
	format.match = stored.at("match").get<std::vector<std::string>>();
	return format;
}

struct Column {
	std::string name, type, base_type;
};

std::vector<Column> columns_of(const std::string &relation) {
	Rows rows = spi_execute("SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),"
	                        " pg_catalog.format_type(courier_internal.base_type(a.atttypid), -1)"
	                        " FROM pg_catalog.pg_attribute a WHERE a.attrelid = pg_catalog.to_regclass($1)"
	                        " AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
	                        relation);
	std::vector<Column> out;
	for (std::size_t row = 0; row < rows.size(); row++)
		out.push_back({rows.get<std::string>(row, 0), rows.get<std::string>(row, 1), rows.get<std::string>(row, 2)});
	return out;
}

// What the analysis says of each expression: type, columns read.
struct Analysed {
	std::string type;
	std::size_t columns = 0;
	bool of_key = false; // reads nothing but key columns
};

// A column by its name needs no analysis, and models of 1,600 columns are mapped like that.
std::vector<Analysed> analyse(const RunDefinition &run, const std::vector<Column> &columns, const std::string &alias,
                              const std::vector<PlanField> &fields) {
	std::vector<std::string> names, expressions, key;
	std::unordered_map<std::string, const Column *> by_name;
	for (auto &column : columns)
		by_name.emplace(quote_identifier(column.name), &column);
	for (auto &column : run.plan.key)
		key.push_back(column.name);
	std::vector<Analysed> out(fields.size());
	std::vector<std::size_t> asked;
	for (std::size_t i = 0; i < fields.size(); i++) {
		if (auto at = by_name.find(fields[i].expression); at != by_name.end()) {
			bool of_key = std::find(key.begin(), key.end(), at->second->name) != key.end();
			out[i] = {at->second->type, 1, of_key};
			continue;
		}
		asked.push_back(i);
		names.push_back(fields[i].name);
		expressions.push_back(fields[i].expression);
	}
	if (asked.empty())
		return out;
	Rows rows = spi_execute("SELECT type_name, pg_catalog.cardinality(columns), columns <@ $7 FROM"
	                        " courier_internal.analyze_mapping($1, $2, pg_catalog.to_regclass($3), $4, $5, $6)"
	                        " ORDER BY ordinal",
	                        ObjectId {run.owner}, run.search_path, run.plan.relation, alias, names, expressions, key);
	for (std::size_t row = 0; row < rows.size(); row++)
		out[asked[row]] = {rows.get<std::string>(row, 0), static_cast<std::size_t>(rows.get<int>(row, 1)),
		                   rows.get<bool>(row, 2)};
	return out;
}

std::vector<PlanField> fields_of(const ordered_json &mapping, const std::vector<Column> &columns) {
	std::vector<PlanField> fields;
	if (mapping.is_null()) {
		for (auto &column : columns) {
			PlanField field;
			field.name = column.name;
			field.expression = quote_identifier(column.name);
			fields.push_back(field);
		}
		return fields;
	}
	for (auto &[name, value] : mapping.items()) {
		PlanField field;
		field.name = name;
		if (value.is_string()) {
			field.expression = value.get<std::string>();
		} else {
			field.expression = value.at("expr").get<std::string>();
			field.omit_null = text_of(value, "null") == "omit";
			field.insert_only = text_of(value, "on") == "insert";
			if (auto track = value.find("track");
			    track != value.end() && track->is_boolean() && !track->template get<bool>())
				field.compared = false;
		}
		fields.push_back(field);
	}
	return fields;
}

} // namespace

std::int64_t run_as_owner(const RunDefinition &run, const std::string &sql, OwnerSettings settings) {
	UserContext context(run.as_owner(std::move(settings)));
	return static_cast<std::int64_t>(spi_execute(sql).processed());
}

std::string format_to_json(const PlanFormat &format, bool first_run_done) {
	json out {{"hash", 1},
	          {"first_run_done", first_run_done},
	          {"key", json::array()},
	          {"fields", json::array()},
	          {"match", format.match}};
	for (auto &key : format.key)
		out["key"].push_back({{"name", key.name}, {"type", key.type}, {"base_type", key.base_type}});
	for (auto &field : format.fields)
		out["fields"].push_back({{"name", field.name}, {"expression", field.expression}, {"type", field.type}});
	return out.dump();
}

RunDefinition read_definition(const std::string &text) {
	ordered_json all = ordered_json::parse(text);
	RunDefinition out;
	out.text = text;
	if (auto run = all.find("run"); run != all.end()) {
		out.run_id = run->at("run_id");
		out.resync = run->at("resync");
		out.origin_run_id =
		    run->at("origin_run_id").is_null() ? out.run_id : run->at("origin_run_id").get<std::int64_t>();
		if (auto &approved = run->at("approved"); approved.is_object()) {
			out.approved_removed = approved.value("removed", std::uint64_t {0});
			out.approved_changes = approved.value("changes", std::uint64_t {0});
		}
		out.test = json(run->at("test"));
	}
	auto &sync = all.at("sync");
	out.sync_id = sync.at("sync_id");
	out.sync = sync.at("name");
	out.mode = sync.at("mode");
	out.sync_type = sync.at("sync_type");
	out.on_removed = sync.at("on_removed");
	out.first_run = sync.at("first_run");
	out.search_path = sync.at("search_path");
	out.owner_name = sync.at("owner");
	if (auto &format = sync.at("snapshot_format"); !format.is_null()) {
		out.former = format_from(json(format));
		out.first_run_done = format.value("first_run_done", true);
	}

	auto &destination = all.at("destination");
	out.destination_id = destination.at("destination_id");
	out.secret_references = json(destination.at("secrets"));
	out.client.type = destination.at("type");
	out.client.definition = json(destination.at("definition"));
	json definition = definition_or_builtin(out.client.type, destination.at("definition"));
	out.options = parse_options(merged_options(definition, json(sync.at("options"))));
	out.client.destination = destination.at("name");
	out.client.config = json(destination.at("config"));
	out.client.sync = out.sync;
	out.client.mode = out.mode;
	out.client.sync_type = out.sync_type;
	out.client.object = text_of(sync, "object");
	out.client.sync_config = json(sync.at("config"));
	if (out.sync_type == "notifications") {
		ordered_json config(out.client.sync_config);
		MessageSpec messages = read_messages(Reader(config, "config of sync \"" + out.sync + "\""));
		if (!messages.empty())
			out.options.changed_fields_only = false; // a template may name any field
		if (messages.digest())
			out.digest_records = static_cast<int>(messages.digest_records);
	}
	out.client.batch_size = out.options.batch_size;
	out.client.timeout = out.options.timeout;
	out.client.run_id = std::to_string(out.run_id);
	out.snapshot_records = all.at("state").at("snapshot_records");
	out.last_changes = all.at("state").at("last_changes");

	Plan &plan = out.plan;
	plan.sync_id = out.sync_id;
	plan.run_id = out.run_id;
	plan.seed = sync.at("seed");
	auto &model = all.at("model");
	plan.relation = quote_identifier(model.at("relation_schema").get<std::string>()) + "." +
	                quote_identifier(model.at("relation_name").get<std::string>());
	plan.alias = quote_identifier(model.at("name").get<std::string>());
	for (auto &name : model.at("primary_key"))
		plan.key.push_back({name.get<std::string>(), {}, {}});
	plan.fields = fields_of(sync.at("mapping"), {});
	if (sync.at("mapping").is_null())
		plan.fields.clear();
	if (sync.at("match_on").is_array())
		out.client.match_fields = sync.at("match_on").get<std::vector<std::string>>();
	return out;
}

namespace {

bool reads_no_more(const std::vector<PlanField> &fields) {
	return std::none_of(fields.begin(), fields.end(), [](const PlanField &field) {
		std::string text = field.expression;
		std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
		return text.find("select") != std::string::npos;
	});
}

} // namespace

void complete_plan(RunDefinition &run) {
	Plan &plan = run.plan;
	Rows owner =
	    spi_execute("SELECT pg_catalog.to_regrole(pg_catalog.quote_ident($1))::pg_catalog.oid", run.owner_name);
	if (owner.is_null(0, 0))
		throw Error("42704",
		            "sync \"" + run.sync + "\" is owned by role \"" + run.owner_name + "\", which does not exist", {},
		            "Create the role, or give the sync to another one with courier.alter_sync(..., owner => ...).");
	run.owner = owner.get<Oid>(0, 0);

	auto columns = columns_of(plan.relation);
	if (columns.empty())
		throw Error("42P01",
		            "the model of sync \"" + run.sync + "\" is gone: relation " + plan.relation + " does not exist", {},
		            "Create it again, or point the model elsewhere with courier.alter_model.");
	for (auto &key : plan.key) {
		auto at = std::find_if(columns.begin(), columns.end(), [&](const Column &c) { return c.name == key.name; });
		if (at == columns.end())
			throw Error("42703", "column \"" + key.name + "\" of the model's primary key is gone from " + plan.relation,
			            {}, "Put it back, or name another primary key with courier.alter_model.");
		key.type = at->type;
		key.base_type = at->base_type;
	}
	if (plan.fields.empty())
		plan.fields = fields_of(nullptr, columns);

	std::string alias = plan.alias.substr(1, plan.alias.size() - 2);
	auto analysed = analyse(run, columns, alias, plan.fields);
	for (std::size_t i = 0; i < plan.fields.size(); i++) {
		PlanField &field = plan.fields[i];
		field.type = analysed.at(i).type;
		field.reads_column = analysed[i].columns > 0;
		field.compared = field.compared && field.reads_column && !field.insert_only;
	}

	auto &match = run.client.match_fields;
	auto is_bare_key = [&](const PlanField &field) {
		return std::any_of(plan.key.begin(), plan.key.end(), [&](const PlanKey &key) {
			return field.expression == key.name || field.expression == quote_identifier(key.name);
		});
	};
	for (auto &field : plan.fields) {
		field.match =
		    match.empty() ? is_bare_key(field) : std::find(match.begin(), match.end(), field.name) != match.end();
	}
	// No field is a key column itself: those that are made from the key alone identify the record.
	if (std::none_of(plan.fields.begin(), plan.fields.end(), [](const PlanField &field) { return field.match; }))
		for (std::size_t i = 0; i < plan.fields.size(); i++)
			plan.fields[i].match = plan.fields[i].reads_column && analysed[i].of_key && !plan.fields[i].insert_only;
	if (match.empty())
		for (auto &field : plan.fields)
			if (field.match)
				match.push_back(field.name);

	plan.keep_left = run.sync_type == "events" || run.mode == "insert";
	plan.compare_changes = !plan.keep_left;
	plan.keep_payload = run.options.changed_fields_only || run.sync_type == "notifications";
	plan.removal_payload = run.sync_type == "notifications";
	plan.resend = run.resync == "full";

	// A sub-select in a mapping is more than reading a row again.
	plan.plain_scan = reads_no_more(plan.fields) && is_plain_scan(plan.relation);

	if (run.former && !same_format(*run.former, format_of(plan))) {
		plan.former = run.former;
		for (auto &field : plan.former->fields)
			field.reads_column = true;
		// A column of the former mapping may be gone: then the two cannot be compared, and every record is sent.
		plan.former_lost = !try_in_subtransaction([&] { analyse(run, columns, alias, plan.former->fields); });
	}
}

} // namespace courier::pg
