#include "destinations/http.hpp"

#include "core/error.hpp"

namespace courier {

namespace {

// {{ secret.url }} in the destination's own texts makes "url" one of its secrets.
void find_secrets(const nlohmann::ordered_json &value, std::map<std::string, SecretSpec> &secrets) {
	if (value.is_structured()) {
		for (auto &child : value)
			find_secrets(child, secrets);
		return;
	}
	if (!value.is_string())
		return;
	const auto &text = value.get_ref<const std::string &>();
	for (std::size_t open = text.find("{{"); open != std::string::npos; open = text.find("{{", open + 2)) {
		std::size_t start = text.find_first_not_of(' ', open + 2);
		if (start == std::string::npos || text.compare(start, 7, "secret.") != 0)
			continue;
		std::size_t end = text.find_first_of(" |}", start);
		if (end != std::string::npos && end > start + 7)
			secrets.try_emplace(
			    text.substr(start + 7, end - start - 7),
			    SecretSpec {true, "used in the config as {{ " + text.substr(start, end - start) + " }}"});
	}
}

} // namespace

Definition http_definition(const std::string &destination, const nlohmann::ordered_json &config) {
	Reader reader(config, "config of destination \"" + destination + "\"");
	reader.only_keys({"base_url", "headers", "auth", "tls", "idempotency", "requests", "response", "limits", "test"});
	Definition definition;
	definition.name = "http";
	definition.posts_by_default = true;
	definition.base_url = reader.at("base_url").text();
	if (reader.has("headers"))
		definition.headers = read_headers(reader.at("headers"));
	if (reader.has("auth"))
		definition.auth = read_auth(reader.at("auth"));
	if (reader.has("idempotency"))
		definition.idempotency = read_idempotency(reader.at("idempotency"), {});
	if (reader.has("requests"))
		definition.requests = read_requests(reader.at("requests"), false);
	if (reader.has("response"))
		definition.response = read_response(reader.at("response"));
	if (reader.has("limits"))
		definition.limits = read_limits(reader.at("limits"));
	if (reader.has("test"))
		definition.test = read_request(reader.at("test"), false);
	for (auto &[secret, required] : secrets_of(definition.auth))
		definition.secrets.try_emplace(secret, SecretSpec {required, "of auth type " + definition.auth.type});
	find_secrets(config, definition.secrets);
	definition.sync_types = {"objects", "events", "notifications", "segments"};
	definition.modes = {"upsert", "insert", "update", "mirror"};
	return definition;
}

void apply_sync_config(Definition &definition, const std::string &sync, const nlohmann::ordered_json &config) {
	Reader reader(config, "config of sync \"" + sync + "\"");
	reader.expect_object();
	if (definition.posts_by_default) {
		reader.only_keys({"requests", "response", "limits", "idempotency", messages_key, digest_records_key});
		if (reader.has("requests"))
			for (auto &[key, spec] : read_requests(reader.at("requests"), true))
				definition.requests.insert_or_assign(key, spec);
		if (reader.has("response"))
			definition.response = read_response(reader.at("response"));
		if (reader.has("limits"))
			definition.limits = merged_limits(definition.limits, read_limits(reader.at("limits")));
	}
	if (reader.has("idempotency"))
		definition.idempotency = read_idempotency(reader.at("idempotency"), definition.idempotency);
	definition.messages = read_messages(reader);
}

nlohmann::ordered_json http_description() {
	return nlohmann::ordered_json::parse(R"json({
  "description": "Any HTTP API: requests, answers and authentication are described in the config of the destination and of the sync",
  "sync_types": ["objects", "events", "notifications", "segments"],
  "modes": ["upsert", "insert", "update", "mirror"],
  "operations": ["insert", "update", "upsert", "delete", "clear", "archive", "event", "message", "add", "remove"],
  "objects": {"*": {"description": "any text; templates have it as {{ object }}"}},
  "limits": {"batch_size": 1, "batch_bytes": 1048576, "concurrency": 8},
  "config": {
    "base_url": {"required": true, "description": "the address that paths are appended to"},
    "headers": {"description": "sent with every request"},
    "auth": {"description": "type: none, bearer, basic, header, query, oauth2_client_credentials, oauth2_refresh_token, hmac, standard_webhooks, aws_sigv4; and the settings of that type"},
    "tls": {"description": "ca: a private certificate authority (PEM); client_certificate (PEM), with the secret client_key"},
    "idempotency": {"description": "false, or {\"header\": \"Idempotency-Key\", \"honoured\": false}"},
    "requests": {"description": "defaults for the syncs' requests"},
    "response": {"description": "default for the syncs' response"},
    "limits": {"description": "batch_size, batch_bytes, record_bytes, concurrency, unique, rate, rate_key"},
    "test": {"description": "the request of courier.test_destination; left out: GET base_url"}
  },
  "sync_config": {
    "requests": {"description": "by operation: method, path, query, headers, encoding, body, each, group_by and more (doc/definition-language.md); left out, an operation is POSTed to base_url"},
    "response": {"description": "what an answer means: rules, code, message, remote_id, atomic, records, wait, learn, format"},
    "limits": {"description": "batch_size, batch_bytes, record_bytes, concurrency, unique, rate, rate_key"},
    "idempotency": {"description": "in place of the destination's"},
    "messages": {"description": "notifications: Mustache templates added, changed, removed, or digest; what they make is {{ message }}"},
    "digest_records": {"description": "records of each kind that a digest shows, 1 to 20; default 10"}
  },
  "secrets": {
    "token": {"description": "auth type bearer"},
    "password": {"description": "auth type basic"},
    "key": {"description": "auth types header, query, hmac"},
    "client_secret": {"description": "auth types oauth2_client_credentials, oauth2_refresh_token"},
    "refresh_token": {"description": "auth type oauth2_refresh_token"},
    "signing_key": {"description": "auth type standard_webhooks"},
    "secret_access_key": {"description": "auth type aws_sigv4"},
    "session_token": {"description": "auth type aws_sigv4, if credentials are temporary"},
    "client_key": {"description": "private key (PEM) of tls.client_certificate"}
  }
})json");
}

} // namespace courier
