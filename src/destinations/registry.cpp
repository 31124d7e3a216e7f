#include "destinations/registry.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "destinations/builtin/builtin.hpp"
#include "destinations/declarative.hpp"

namespace courier {

namespace {

std::optional<builtin::BuiltinType> find_builtin(std::string_view name) {
	for (auto &type : builtin::all())
		if (type.name == name)
			return type;
	return std::nullopt;
}

} // namespace

std::vector<std::string> builtin_names() {
	std::vector<std::string> names;
	for (auto &type : builtin::all())
		names.emplace_back(type.name);
	return names;
}

bool is_builtin(std::string_view name) {
	return find_builtin(name).has_value();
}

nlohmann::ordered_json definition_or_builtin(const std::string &name, const nlohmann::ordered_json &definition) {
	if (!definition.is_null())
		return definition;
	auto type = find_builtin(name);
	if (!type)
		throw Error("42704", "destination type \"" + name + "\" does not exist",
		            "There is: " + join(builtin_names()) + ".",
		            "SELECT * FROM courier.destination_types. Type \"http\" serves any HTTP API, and "
		            "courier.create_destination_type makes new types.");
	return type->definition.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json::parse(type->definition);
}

void adapt_builtin(Definition &definition, const ClientSettings &settings) {
	if (!settings.definition.is_null())
		return;
	if (auto type = find_builtin(settings.type); type && type->adapt)
		type->adapt(definition, settings);
}

void check_builtin_sync(const std::string &name, const nlohmann::ordered_json &settings, const Definition &definition) {
	if (auto type = find_builtin(name); type && type->check_sync)
		type->check_sync(settings, definition);
}

std::unique_ptr<Client> make_client(const ClientSettings &settings) {
	Definition definition = definition_of(settings);
	for (auto &[name, spec] : definition.secrets)
		if (spec.required && !settings.secrets.contains(name))
			throw Error("55000", "destination \"" + settings.destination + "\" lacks the secret \"" + name + "\"", {},
			            "SELECT courier.alter_destination('" + settings.destination + "', secrets => '{\"" + name +
			                "\": {\"file\": \"...\"}}')");
	if (settings.definition.is_null())
		if (auto type = find_builtin(settings.type); type->make_client)
			return type->make_client(std::move(definition), settings);
	return std::make_unique<DeclarativeClient>(std::move(definition), settings);
}

http::TlsSettings tls_settings(const ClientSettings &settings) {
	http::TlsSettings tls;
	if (settings.config.is_object() && settings.config.contains("tls") && settings.config["tls"].is_object()) {
		tls.ca_pem = settings.config["tls"].value("ca", "");
		tls.client_certificate_pem = settings.config["tls"].value("client_certificate", "");
	}
	if (auto key = settings.secrets.find("client_key"); key != settings.secrets.end())
		tls.client_key_pem = key->second;
	return tls;
}

namespace {

nlohmann::ordered_json describe_keys(const std::map<std::string, KeySpec> &keys) {
	auto out = nlohmann::ordered_json::object();
	for (auto &[name, key] : keys) {
		auto &entry = out[name] = nlohmann::ordered_json::object();
		if (key.required)
			entry["required"] = true;
		if (!key.description.empty())
			entry["description"] = key.description;
		if (key.default_value)
			entry["default"] = nlohmann::ordered_json(*key.default_value);
		if (!key.allowed.empty())
			entry["enum"] = nlohmann::ordered_json(nlohmann::json(key.allowed));
	}
	return out;
}

nlohmann::ordered_json operation_names(const Requests &requests) {
	auto out = nlohmann::ordered_json::array();
	for (auto &[key, spec] : requests)
		out.push_back(key);
	return out;
}

nlohmann::ordered_json describe_limits(const LimitSpec &limits) {
	auto out = nlohmann::ordered_json::object();
	if (limits.batch_size)
		out["batch_size"] = *limits.batch_size;
	if (limits.batch_bytes)
		out["batch_bytes"] = *limits.batch_bytes;
	if (limits.concurrency)
		out["concurrency"] = *limits.concurrency;
	if (limits.record_bytes)
		out["record_bytes"] = *limits.record_bytes;
	if (limits.unique)
		out["unique"] = *limits.unique;
	if (limits.rate)
		out["rate"] = limits.rate_text;
	if (limits.rate_key)
		out["rate_key"] = *limits.rate_key;
	return out;
}

} // namespace

nlohmann::ordered_json describe_type(const std::string &name, const nlohmann::ordered_json &given) {
	auto json = definition_or_builtin(name, given);
	if (given.is_null())
		if (auto type = find_builtin(name); type->describe)
			return type->describe();
	Definition definition = read_definition(name, json);
	nlohmann::ordered_json out = {{"description", definition.description},
	                              {"sync_types", definition.sync_types},
	                              {"modes", definition.modes},
	                              {"operations", operation_names(definition.requests)}};
	auto &objects = out["objects"] = nlohmann::ordered_json::object();
	for (auto &object : definition.objects)
		objects[object.name] = {{"description", object.description},
		                        {"sync_types", object.sync_types},
		                        {"modes", object.modes},
		                        {"operations", operation_names(requests_for(definition, object.name))},
		                        {"limits", describe_limits(object.limits)}};
	out["limits"] = describe_limits(definition.limits);
	out["config"] = describe_keys(definition.config);
	out["sync_config"] = describe_keys(definition.sync_config);
	auto &secrets = out["secrets"] = nlohmann::ordered_json::object();
	for (auto &[secret, spec] : definition.secrets)
		secrets[secret] = {{"required", spec.required}, {"description", spec.description}};
	out["options"] = definition.options;
	out["docs"] = definition.docs;
	return out;
}

nlohmann::json merged_options(const nlohmann::json &definition, const nlohmann::json &options) {
	nlohmann::json merged = nlohmann::json::object();
	if (definition.is_object() && definition.contains("options") && definition["options"].is_object())
		merged = definition["options"];
	if (options.is_object())
		for (auto &[key, value] : options.items())
			merged[key] = value;
	return merged;
}

} // namespace courier
