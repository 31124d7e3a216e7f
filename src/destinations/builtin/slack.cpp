// What a sync and its destination choose between: a bot or a webhook, blocks that are given or mapped, messages of templates
// or texts of a field.

#include "core/error.hpp"
#include "destinations/builtin/builtin.hpp"

namespace courier::builtin {

namespace {

using Json = nlohmann::ordered_json;

bool by_webhook(const nlohmann::json &config) {
	auto via = config.find("via");
	return via != config.end() && *via == "webhook";
}

// The address is the secret, and it belongs to one channel: nothing of a message says where it goes. The answer is a word.
void use_webhook(Definition &definition, RequestSpec &request) {
	static const Json response = Json::parse(R"json({
		"code": {"body": true, "matches": "^[a-z_]+"},
		"message": {"body": true, "matches": "^[^<{]{1,200}"},
		"rules": [{"when": {"status": [404, 410]}, "then": "gone"}, {"when": {"status": 409}, "then": "rejected"}]
	})json");
	definition.base_url = "{{ secret.webhook_url }}";
	definition.auth = {};
	definition.secrets = {{"webhook_url", {true, "https://hooks.slack.com/services/..."}}};
	definition.test.reset();
	definition.limits.rate_key.reset(); // a message a second by each webhook, which is a destination
	definition.response = read_response(Reader(response, "response"));
	request.path.clear();
	for (const char *name : {"channel", "reply_broadcast", "username", "icon_emoji"})
		request.body->erase(name);
	std::erase_if(request.require, [](auto &names) { return names.front() == "channel"; });
}

void adapt(Definition &definition, const ClientSettings &settings) {
	RequestSpec &request = definition.objects.front().requests.at("message");
	request.from_sync = true; // the sync's owner writes a part of it, and may not read secrets
	if (by_webhook(settings.config))
		use_webhook(definition, request);
	auto &body = *request.body;
	auto blocks = settings.sync_config.find("blocks");
	const bool own_blocks = blocks != settings.sync_config.end() && !blocks->is_null();
	if (own_blocks)
		body["blocks"] = Json(*blocks);
	const bool messages = !definition.messages.empty();
	if (messages)
		body["text"] = "{{ message }}"; // beside blocks it is what notifications show
	if (messages || own_blocks)
		std::erase_if(request.require, [](auto &names) { return names.front() == "text"; });
}

void check_sync(const Json &settings, const Definition &definition) {
	const std::string sync = "sync \"" + settings.value("name", "") + "\"";
	auto config = settings.find("config");
	const Json own = config == settings.end() || !config->is_object() ? Json::object() : *config;
	auto destination = settings.find("destination_config");
	const bool webhook = destination != settings.end() && destination->is_object() && by_webhook(*destination);
	if (own.contains("blocks") && !(own["blocks"].is_array() && !own["blocks"].empty() && own["blocks"].size() <= 50))
		throw Error("22023", "config of " + sync + ": blocks must be an array of 1 to 50 blocks");
	for (const char *name : {"channel", "username", "icon_emoji"})
		if (webhook && own.contains(name))
			throw Error("22023", "config of " + sync + ": " + name + " has no effect with a webhook",
			            "A webhook belongs to one channel and to one app.", "Use a destination with config {\"via\": \"bot\"}.");
	if (!webhook && definition.messages.digest() && !own.contains("channel"))
		throw Error("22023", sync + " needs a channel for its digest", "A digest tells of all records, and none says where it goes.",
		            "config => '{\"channel\": \"C0123456789\", ...}'");
}

} // namespace

BuiltinType slack_type() {
	return {.adapt = adapt, .check_sync = check_sync};
}

} // namespace courier::builtin
