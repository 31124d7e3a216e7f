#include "destinations/validate.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/options.hpp"
#include "destinations/declarative.hpp"
#include "destinations/http.hpp"
#include "destinations/registry.hpp"
#include "http/url.hpp"

namespace courier {

namespace {

using Json = nlohmann::ordered_json;
using Names = std::vector<std::string>;

bool contains(const Names &names, const std::string &name) {
	return std::find(names.begin(), names.end(), name) != names.end();
}

bool contains_value(const std::vector<nlohmann::json> &values, const Json &value) {
	return std::find(values.begin(), values.end(), nlohmann::json(value)) != values.end();
}

void check_type(const std::string &type, const Json &definition) {
	if (!definition.is_null() || is_builtin(type))
		return;
	std::string types;
	for (auto &builtin : builtin_types())
		(types += types.empty() ? "" : ", ") += builtin.name;
	throw Error("42704", "destination type \"" + type + "\" does not exist", "There is: " + types + ".",
	            "SELECT * FROM courier.destination_types. Type \"http\" serves any HTTP API, and "
	            "courier.create_destination_type makes new types.");
}

void check_keys(const Reader &reader, const std::map<std::string, KeySpec> &keys, Names always) {
	reader.expect_object();
	Names allowed;
	for (auto &[name, key] : keys)
		allowed.push_back(name);
	allowed.insert(allowed.end(), always.begin(), always.end());
	reader.each([&](const std::string &name, const Reader &value) {
		if (!contains(allowed, name))
			throw Error("22023", reader.place() + ": unknown key \"" + name + "\"",
			            "Keys allowed here: " + join(allowed) + ".");
		auto key = keys.find(name);
		if (key == keys.end() || value.json().is_null())
			return;
		if (!key->second.allowed.empty() && !contains_value(key->second.allowed, value.json())) {
			std::string values;
			for (auto &entry : key->second.allowed)
				(values += values.empty() ? "" : ", ") += entry.is_string() ? entry.get<std::string>() : entry.dump();
			value.fail("cannot be " + value.json().dump(), "Allowed: " + values + ".");
		}
	});
	for (auto &[name, key] : keys)
		if (key.required && !reader.has(name))
			throw Error("22023", reader.place() + " lacks \"" + name + "\"", key.description);
}

void check_tls(const Reader &reader, const Names &secrets) {
	bool certificate = false;
	if (reader.has("tls")) {
		Reader tls = reader.at("tls");
		tls.only_keys({"ca", "client_certificate"});
		for (const char *name : {"ca", "client_certificate"})
			if (tls.has(name) && tls.at(name).text().find("-----BEGIN CERTIFICATE-----") == std::string::npos)
				tls.at(name).fail("is not a certificate in PEM form", {},
				                  "It begins with -----BEGIN CERTIFICATE-----.");
		certificate = tls.has("client_certificate");
	}
	bool key = contains(secrets, "client_key");
	if (certificate != key)
		throw Error("22023",
		            reader.place() + (certificate ? ": tls.client_certificate needs the secret \"client_key\""
		                                          : ": the secret \"client_key\" needs tls.client_certificate"));
}

void check_secrets(const std::string &destination, const Definition &definition, const Names &given) {
	Names known;
	for (auto &[name, spec] : definition.secrets) {
		known.push_back(name);
		if (spec.required && !contains(given, name))
			throw Error("22023", "destination \"" + destination + "\" needs the secret \"" + name + "\"",
			            spec.description, "secrets => '{\"" + name + "\": {\"file\": \"...\"}}'");
	}
	for (auto &name : given)
		if (!contains(known, name) && name != "client_key")
			throw Error("22023", "destination \"" + destination + "\" does not use a secret \"" + name + "\"",
			            known.empty() ? "With auth type " + definition.auth.type + " it uses none."
			                          : "It uses: " + join(known) + ".");
}

// A URL that has a secret in it can only be checked when the secret is read.
bool has_secret(const std::string &text) {
	return text.find("{{") != std::string::npos && text.find("secret.") != std::string::npos;
}

Names strings(const Json &settings, const char *key) {
	auto found = settings.find(key);
	return found == settings.end() || !found->is_array() ? Names {} : found->get<Names>();
}

std::string text(const Json &settings, const char *key) {
	auto found = settings.find(key);
	return found == settings.end() || !found->is_string() ? std::string() : found->get<std::string>();
}

Json object_or_empty(const Json &settings, const char *key) {
	auto found = settings.find(key);
	return found == settings.end() || found->is_null() ? Json::object() : *found;
}

// One setting of a sync that takes one of several words.
class Choice {
public:
	Choice(Json &settings, const char *key, std::string what)
	    : settings_(settings), key_(key), what_(std::move(what)) {}

	// Fills in the first of `allowed` where nothing was said.
	std::string of(const Names &allowed, const std::string &reason, const std::string &hint = {}) const {
		std::string value = text(settings_, key_);
		if (value.empty())
			value = allowed.empty() ? "" : allowed.front();
		else if (!contains(allowed, value))
			throw Error("22023", what_ + " \"" + value + "\" is not possible: " + reason,
			            "Allowed: " + join(allowed) + ".", hint);
		settings_[key_] = value;
		return value;
	}

private:
	Json &settings_;
	const char *key_;
	std::string what_;
};

std::string resolve_object(const Json &settings, const Definition &definition, const std::string &sync,
                           const std::string &type) {
	std::string object = text(settings, "object");
	if (definition.posts_by_default || definition.objects.empty())
		return object;
	Names names;
	for (auto &entry : definition.objects)
		names.push_back(entry.name == "*" ? "any name" : entry.name);
	if (object.empty()) {
		if (definition.objects.size() == 1 && definition.objects[0].name != "*")
			return definition.objects[0].name;
		throw Error("22023", "sync \"" + sync + "\" must name an object of destination type \"" + type + "\"",
		            "Objects: " + join(names) + ".",
		            "object => '" +
		                (definition.objects[0].name == "*" ? std::string("...") : definition.objects[0].name) + "'");
	}
	if (!find_object(definition, object))
		throw Error("42704", "destination type \"" + type + "\" has no object \"" + object + "\"",
		            "Objects: " + join(names) + ".");
	return object;
}

void compile_requests(const Definition &definition, const Requests &requests, Scope scope, const Names &match) {
	for (auto &[name, text] : definition.headers) {
		scope.where = "headers." + name;
		TextTemplate(text, scope, Context::header);
	}
	for (auto &[key, spec] : requests) {
		Scope here = request_scope(key, scope);
		bool removal = key == "delete" || key == "archive" || key == "remove";
		if (removal)
			here.removed = match;
		RequestTemplate(spec, here);
	}
}

void resolve_removal(Json &settings, const std::string &sync, const std::string &type, const std::string &mode,
                     const Requests &requests, bool posts_by_default) {
	if (type != "objects") {
		Choice(settings, "on_removed", "sync \"" + sync + "\": on_removed")
		    .of({type == "segments" ? "delete" : "ignore"},
		        type == "segments" ? "of segments, removed members always leave" : "it does not apply to " + type);
		return;
	}
	if (mode == "mirror") {
		Choice(settings, "on_removed", "sync \"" + sync + "\": on_removed")
		    .of({"delete"}, "mode mirror deletes what is removed", "Leave on_removed out, or use mode upsert.");
		return;
	}
	Names allowed {"ignore"};
	if (posts_by_default || requests.contains("delete"))
		allowed.push_back("delete");
	if (!serving_key(requests, Operation::clear, Change::removed).empty())
		allowed.push_back("clear");
	if (requests.contains("archive"))
		allowed.push_back("archive");
	std::string given = text(settings, "on_removed");
	std::string reason = given == "clear"     ? "there is no request \"clear\" or \"update\""
	                     : given == "archive" ? "there is no request \"archive\""
	                     : given == "delete"  ? "there is no request \"delete\""
	                                          : "there is no such word";
	Choice(settings, "on_removed", "sync \"" + sync + "\": on_removed").of(allowed, reason);
}

} // namespace

void check_destination_type(const std::string &name, const Json &definition) {
	if (is_builtin(name))
		throw Error("42710", "destination type \"" + name + "\" is built in");
	read_definition(name, definition);
}

void check_destination(const std::string &name, const std::string &type, const Json &definition_json,
                       const Json &config, const Names &secret_names) {
	check_type(type, definition_json);
	Reader reader(config, "config of destination \"" + name + "\"");
	reader.expect_object();
	ClientSettings settings;
	settings.type = type;
	settings.destination = name;
	settings.definition = nlohmann::json(definition_json);
	settings.config = nlohmann::json(config);
	Definition definition;
	const Json described = definition_json.is_null() ? builtin_definition(type) : definition_json;
	if (described.is_null()) {
		definition = http_definition(name, config);
	} else {
		definition = read_definition(type, described);
		check_keys(reader, definition.config, {"tls", "idempotency"});
		if (reader.has("idempotency"))
			read_idempotency(reader.at("idempotency"), definition.idempotency);
	}
	check_tls(reader, secret_names);
	check_secrets(name, definition, secret_names);

	Scope scope = scope_of(definition, settings);
	std::string base_url = render_base_url(definition, scope);
	if (!has_secret(definition.base_url))
		http::check_url(base_url, reader.place() + ": base_url");
	AuthSpec auth = render_auth(definition, scope);
	if (auth.parameters.contains("token_url") && !has_secret(definition.auth.parameters.at("token_url")))
		http::check_url(auth.parameters["token_url"], reader.place() + ": auth.token_url");
	for (auto &[key, text] : definition.headers) {
		scope.where = reader.place() + ": headers." + key;
		TextTemplate(text, scope, Context::header);
	}
	if (described.is_null())
		for (auto &[key, spec] : definition.requests)
			RequestTemplate(spec, scope);
	if (definition.test)
		RequestTemplate(*definition.test, scope);
	check_limits(definition.limits, scope, reader.place() + ": ");
	check_idempotency(definition.idempotency, scope, reader.place() + ": ");
}

Json check_sync(Json settings) {
	std::string sync = text(settings, "name"), type = text(settings, "type");
	Json definition_json = settings.contains("definition") ? settings["definition"] : Json();
	check_type(type, definition_json);
	ClientSettings client;
	client.type = type;
	client.destination = text(settings, "destination");
	client.definition = nlohmann::json(definition_json);
	client.config = nlohmann::json(object_or_empty(settings, "destination_config"));
	client.sync = sync;
	Json config = object_or_empty(settings, "config");
	client.sync_config = nlohmann::json(config);
	Definition definition = definition_of(client);
	if (!definition.posts_by_default)
		check_keys(Reader(config, "config of sync \"" + sync + "\""), definition.sync_config,
		           {"idempotency", std::string(messages_key), std::string(digest_records_key)});

	client.object = resolve_object(settings, definition, sync, type);
	if (!client.object.empty())
		settings["object"] = client.object;
	const ObjectSpec *object = definition.objects.empty() ? nullptr : find_object(definition, client.object);
	std::string who = "destination type \"" + type + "\"" + (object ? " (object \"" + client.object + "\")" : "");
	std::string sync_type = Choice(settings, "sync_type", "sync \"" + sync + "\": sync type")
	                            .of(object ? object->sync_types : definition.sync_types, who + " does not have it");
	std::string mode;
	if (sync_type == "objects") {
		const Names &modes = object ? object->modes : definition.modes;
		mode = Choice(settings, "mode", "sync \"" + sync + "\": mode").of(modes, who + " does not have it");
	} else {
		// What the type implies, so that nobody reads a promise into the column that is not kept: events are only ever
		// inserted, messages follow additions and changes, a segment mirrors the model.
		std::string implied = sync_type == "events" ? "insert" : sync_type == "segments" ? "mirror" : "upsert";
		mode = Choice(settings, "mode", "sync \"" + sync + "\": mode")
		           .of({implied}, "for " + sync_type + " the sync type says what is sent", "Leave mode out.");
	}
	Requests requests = requests_for(definition, client.object);
	resolve_removal(settings, sync, sync_type, mode, requests, definition.posts_by_default);

	std::string first_run = sync_type == "notifications" ? "baseline" : "send";
	if (auto declared = definition.first_run.find(sync_type); declared != definition.first_run.end())
		first_run = declared->second;
	Choice(settings, "first_run", "sync \"" + sync + "\": first_run")
	    .of(first_run == "send" ? Names {"send", "baseline"} : Names {"baseline", "send"}, "there is no such word");

	Scope scope = scope_of(definition, client);
	if (scope.object.empty() && !contains(strings(settings, "fields"), "object"))
		scope.object = "object"; // {{ object }} is a name, and stays one when no object is given
	scope.fields = strings(settings, "fields");
	if (auto key = strings(settings, "primary_key"); !key.empty())
		scope.key = key;
	if (auto match = strings(settings, "match_on"); !match.empty())
		scope.match = match;
	if (!definition.messages.empty())
		scope.messages = std::make_shared<Messages>(definition.messages, scope); // now with names
	compile_requests(definition, requests, scope, strings(settings, "match_on"));
	check_messages(definition, client.object, sync_type, scope);
	check_limits(definition.limits, scope, "sync \"" + sync + "\": ");
	if (object)
		check_limits(object->limits, scope, "sync \"" + sync + "\": objects." + object->name + ".");
	check_idempotency(definition.idempotency, scope, "sync \"" + sync + "\": ");
	parse_options(merged_options(client.definition, nlohmann::json(object_or_empty(settings, "options"))));
	if (definition_json.is_null())
		for (auto &builtin : builtin_types())
			if (builtin.name == type && builtin.check_sync)
				builtin.check_sync(settings, definition);
	return settings;
}

} // namespace courier
