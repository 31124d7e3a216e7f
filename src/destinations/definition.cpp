#include "destinations/definition.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/options.hpp"
#include "destinations/request_template.hpp"

namespace courier {

namespace {

std::map<std::string, KeySpec> read_keys(const Reader &reader) {
	std::map<std::string, KeySpec> keys;
	reader.each([&](const std::string &name, const Reader &entry) {
		if (name.empty() || name.find_first_of("{}| ") != std::string::npos)
			entry.fail("cannot be the name of a config key");
		if (name == "tls" || name == "idempotency" || name == messages_key || name == digest_records_key)
			entry.fail("is a key that every destination has already");
		entry.only_keys({"required", "description", "default", "enum"});
		KeySpec key;
		key.required = entry.boolean_or("required", false);
		key.description = entry.text_or("description", "");
		if (entry.has("enum")) {
			for (auto &value : entry.at("enum").elements())
				key.allowed.push_back(nlohmann::json(value.json()));
			if (key.allowed.empty())
				entry.at("enum").fail("must not be empty");
		}
		if (entry.has("default")) {
			key.default_value = nlohmann::json(entry.at("default").json());
			if (!key.allowed.empty() &&
			    std::find(key.allowed.begin(), key.allowed.end(), *key.default_value) == key.allowed.end())
				entry.at("default").fail("is not among the values of its \"enum\"");
			if (key.required)
				entry.fail("is required and has a default: it can be only one of these");
		}
		keys.emplace(name, std::move(key));
	});
	return keys;
}

std::map<std::string, SecretSpec> read_secrets(const Reader &reader) {
	std::map<std::string, SecretSpec> secrets;
	if (reader.json().is_array()) {
		for (auto &name : reader.texts())
			secrets.emplace(name, SecretSpec {});
		return secrets;
	}
	reader.each([&](const std::string &name, const Reader &entry) {
		entry.only_keys({"required", "description"});
		secrets.emplace(name, SecretSpec {entry.boolean_or("required", true), entry.text_or("description", "")});
	});
	return secrets;
}

std::vector<std::string> read_names(const Reader &reader, std::initializer_list<std::string_view> allowed) {
	std::vector<std::string> names;
	for (auto &entry : reader.elements()) {
		names.push_back(entry.one_of(allowed));
		if (std::count(names.begin(), names.end(), names.back()) > 1)
			entry.fail("stands there twice");
	}
	if (names.empty())
		reader.fail("must not be empty");
	return names;
}

// What is declared must be served; what is not declared is what can be served.
void settle(std::vector<std::string> &declared, std::vector<std::string> served, const Reader &reader,
            const std::string &key, const std::string &object) {
	if (declared.empty()) {
		declared = std::move(served);
		return;
	}
	for (auto &name : declared)
		if (std::find(served.begin(), served.end(), name) == served.end())
			reader.at(key).fail("names " + name + ", which no request serves" +
			                        (object.empty() ? "" : " for object \"" + object + "\""),
			                    served.empty() ? "No request serves any."
			                                   : "Served by the requests: " + join(served) + ".");
}

const std::initializer_list<std::string_view> sync_type_names {"objects", "events", "notifications", "segments"};
const std::initializer_list<std::string_view> mode_names {"upsert", "insert", "update", "mirror"};

void read_objects(const Reader &reader, const Reader &whole, Definition &definition) {
	reader.each([&](const std::string &name, const Reader &entry) {
		entry.only_keys({"description", "requests", "response", "limits", "sync_types", "modes"});
		ObjectSpec object;
		object.name = name;
		object.description = entry.text_or("description", "");
		if (entry.has("requests"))
			object.requests = read_requests(entry.at("requests"), false);
		if (entry.has("response"))
			object.response = read_response(entry.at("response"));
		if (entry.has("limits"))
			object.limits = read_limits(entry.at("limits"));
		if (entry.has("sync_types"))
			object.sync_types = read_names(entry.at("sync_types"), sync_type_names);
		if (entry.has("modes"))
			object.modes = read_names(entry.at("modes"), mode_names);
		definition.objects.push_back(std::move(object));
	});
	for (auto &object : definition.objects) {
		Requests requests = requests_for(definition, object.name);
		Reader entry = whole.at("objects").at(object.name);
		if (requests.empty())
			entry.fail("has no request", {}, "Give it \"requests\", or give the definition some.");
		settle(object.sync_types, served_sync_types(requests), entry, "sync_types", object.name);
		settle(object.modes, served_modes(requests), entry, "modes", object.name);
		for (auto &type : object.sync_types)
			if (std::find(definition.sync_types.begin(), definition.sync_types.end(), type) ==
			    definition.sync_types.end())
				definition.sync_types.push_back(type);
		for (auto &mode : object.modes)
			if (std::find(definition.modes.begin(), definition.modes.end(), mode) == definition.modes.end())
				definition.modes.push_back(mode);
	}
}

// Every template is compiled once against the names that are declared, so that a typing error is found now.
void check_templates(const Definition &definition, const Reader &reader) {
	Scope scope;
	scope.secrets_allowed = true;
	scope.object = "object";
	for (auto &[name, key] : definition.config)
		scope.config.emplace(name, nullptr);
	for (auto &[name, secret] : definition.secrets)
		scope.secrets.emplace(name, "");
	Scope constants = scope;
	constants.constants_only = true;
	constants.where = reader.place() + (reader.path().empty() ? ": " : ".") + "base_url";
	TextTemplate(definition.base_url, constants, Context::text);
	for (auto &[name, text] : definition.auth.parameters) {
		constants.where = reader.place() + ": auth." + name;
		TextTemplate(text, constants, Context::text);
	}
	for (auto &[name, key] : definition.sync_config)
		scope.config.emplace(name, nullptr);
	for (auto &[name, text] : definition.headers) {
		scope.where = reader.place() + ": headers." + name;
		TextTemplate(text, scope, Context::header);
	}
	if (definition.test)
		RequestTemplate(*definition.test, scope);
	for (auto &[key, spec] : definition.requests)
		RequestTemplate(spec, scope);
	check_limits(definition.limits, scope, reader.place() + ": ");
	check_idempotency(definition.idempotency, scope, reader.place() + ": ");
	for (auto &object : definition.objects) {
		for (auto &[key, spec] : object.requests)
			RequestTemplate(spec, scope);
		check_limits(object.limits, scope, reader.place() + ": objects." + object.name + ".");
	}
}

} // namespace

Definition read_definition(const std::string &name, const nlohmann::ordered_json &json) {
	Reader reader(json, "definition of destination type \"" + name + "\"");
	reader.only_keys({"description", "docs", "base_url", "headers", "auth", "requests", "objects", "response", "limits",
	                  "idempotency", "config", "sync_config", "secrets", "sync_types", "modes", "first_run", "options",
	                  "test"});
	Definition definition;
	definition.name = name;
	definition.description = reader.text_or("description", "");
	definition.docs = reader.text_or("docs", "");
	definition.base_url = reader.at("base_url").text();
	if (definition.base_url.empty())
		reader.at("base_url").fail("must not be empty");
	if (reader.has("headers"))
		definition.headers = read_headers(reader.at("headers"));
	if (reader.has("config"))
		definition.config = read_keys(reader.at("config"));
	if (reader.has("sync_config"))
		definition.sync_config = read_keys(reader.at("sync_config"));
	for (auto &[key, spec] : definition.sync_config)
		if (definition.config.contains(key))
			reader.at("sync_config")
			    .at(key)
			    .fail("is a key of \"config\" too", {}, "{{ config." + key + " }} must mean one thing.");
	if (reader.has("secrets"))
		definition.secrets = read_secrets(reader.at("secrets"));
	if (reader.has("auth"))
		definition.auth = read_auth(reader.at("auth"));
	for (auto &[secret, required] : secrets_of(definition.auth))
		definition.secrets.try_emplace(secret, SecretSpec {required, ""});
	if (reader.has("requests"))
		definition.requests = read_requests(reader.at("requests"), false);
	if (reader.has("response"))
		definition.response = read_response(reader.at("response"));
	if (reader.has("limits"))
		definition.limits = read_limits(reader.at("limits"));
	if (reader.has("idempotency"))
		definition.idempotency = read_idempotency(reader.at("idempotency"), {});
	if (reader.has("test"))
		definition.test = read_request(reader.at("test"), false);
	if (reader.has("sync_types"))
		definition.sync_types = read_names(reader.at("sync_types"), sync_type_names);
	if (reader.has("modes"))
		definition.modes = read_names(reader.at("modes"), mode_names);
	if (reader.has("first_run"))
		reader.at("first_run").each([&](const std::string &type, const Reader &value) {
			if (std::find(sync_type_names.begin(), sync_type_names.end(), type) == sync_type_names.end())
				reader.at("first_run")
				    .fail("has unknown sync type \"" + type + "\"",
				          "Sync types: objects, events, notifications, segments.");
			definition.first_run[type] = value.one_of({"send", "baseline"});
		});
	if (reader.has("options")) {
		definition.options = reader.at("options").json();
		try {
			parse_options(nlohmann::json(definition.options));
		} catch (Error &error) {
			error.message = reader.at("options").place() + ": " + error.message;
			throw;
		}
	}
	if (reader.has("objects")) {
		read_objects(reader.at("objects"), reader, definition);
	} else {
		settle(definition.sync_types, served_sync_types(definition.requests), reader, "sync_types", "");
		settle(definition.modes, served_modes(definition.requests), reader, "modes", "");
	}
	if (definition.sync_types.empty())
		reader.fail(
		    "has no request that a sync could use", {},
		    "Give it \"requests\" with at least one of upsert, insert, update, event, message, or add with remove.");
	check_templates(definition, reader);
	return definition;
}

} // namespace courier
