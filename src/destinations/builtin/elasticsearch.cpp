// What the configuration of a cluster and of a sync choose between: a kind of authentication, replacing or merging, and for
// events an answer that means something else than for documents.

#include "core/error.hpp"
#include "destinations/builtin/builtin.hpp"

namespace courier::builtin {

namespace {

using Json = nlohmann::ordered_json;

std::string text(const nlohmann::json &config, const char *key, std::string otherwise) {
	auto found = config.find(key);
	return found == config.end() || !found->is_string() ? otherwise : found->get<std::string>();
}

Json auth_of(const std::string &kind) {
	if (kind == "basic")
		return {{"type", "basic"}, {"username", "{{ config.username }}"}};
	if (kind == "bearer")
		return {{"type", "bearer"}};
	if (kind == "aws_sigv4")
		return {{"type", "aws_sigv4"},
		        {"region", "{{ config.region }}"},
		        {"service", "{{ config.service }}"},
		        {"access_key_id", "{{ config.access_key_id }}"}};
	if (kind == "none")
		return {{"type", "none"}};
	return {{"type", "header"}, {"name", "Authorization"}, {"prefix", "ApiKey "}, {"secret", "api_key"}};
}

void authenticate(Definition &definition, const ClientSettings &settings) {
	const std::string kind = text(settings.config, "auth", "api_key");
	std::vector<const char *> needed;
	if (kind == "basic")
		needed = {"username"};
	else if (kind == "aws_sigv4")
		needed = {"region", "access_key_id"};
	for (auto key : needed)
		if (text(settings.config, key, "").empty())
			throw Error("22023", "config of destination \"" + settings.destination + "\" lacks \"" + key + "\"",
			            "Authentication " + kind + " needs it.");
	const Json auth = auth_of(kind);
	definition.auth = read_auth(Reader(auth, "auth"));
	definition.secrets.clear();
	for (auto &[name, required] : secrets_of(definition.auth))
		definition.secrets.emplace(name, SecretSpec {required, "of authentication " + kind});
}

void adapt(Definition &definition, const ClientSettings &settings) {
	authenticate(definition, settings);
	auto &requests = definition.objects.front().requests;
	if (text(settings.sync_config, "write", "replace") == "merge") {
		(*requests["upsert"].body)[0] = {{"update", (*requests["upsert"].body)[0]["index"]}};
		(*requests["upsert"].body)[1] = {{"doc", (*requests["upsert"].body)[1]}, {"doc_as_upsert", true}};
	}
	// `_id` says which document it is, and may not be a field of it.
	if (settings.match_fields == std::vector<std::string> {"_id"})
		for (auto &[operation, request] : requests) {
			auto &document = (*request.body)[(*request.body).size() - 1];
			if (document == "{{ record }}")
				document = "{{ rest }}";
			else if (document.contains("doc"))
				document["doc"] = "{{ rest }}";
		}
	// The id of an event is that of the change: it is there because it was sent before, and its answer was lost.
	if (settings.sync_type == "events") {
		const Json rule = {{{"when", {{"pointer", "/create/status"}, {"equals", 409}}}, {"then", "accepted"}}};
		for (auto &seen : read_rules(Reader(rule, "rules"), true))
			definition.response.records.rules.push_back(seen);
	}
}

void check_sync(const Json &settings, const Definition &) {
	auto config = settings.find("config"), options = settings.find("options");
	const bool merges = config != settings.end() && config->is_object() && config->value("write", "") == "merge";
	if (!merges && options != settings.end() && options->is_object() && options->value("changed_fields_only", false))
		throw Error("22023",
		            "sync \"" + settings.value("name", "") + "\": option changed_fields_only would cut documents down to the "
		            "fields that changed",
		            "An index request replaces the document.", "Say config => '{\"write\": \"merge\"}' too.");
}

} // namespace

BuiltinType elasticsearch_type() {
	return {.adapt = adapt, .check_sync = check_sync};
}

} // namespace courier::builtin
