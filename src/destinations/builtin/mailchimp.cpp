// What a sync of members chooses between: whether those that are there keep their status, and how they are deleted.

#include "core/error.hpp"
#include "destinations/builtin/builtin.hpp"

namespace courier::builtin {

namespace {

using Json = nlohmann::ordered_json;

bool says(const nlohmann::json &config, const char *key, const nlohmann::json &value) {
	auto found = config.find(key);
	return found != config.end() && *found == value;
}

// The only request that tells a status for new members alone takes one member, and no tags.
void keep_status(RequestSpec &request) {
	static const std::string member = "/lists/{{ config.list_id }}/members/{{ email_address | lower | md5 }}";
	request.method = "PUT";
	request.path = member;
	Json body = *request.each;
	body.erase("tags");
	body["status_if_new"] = body["status"];
	body.erase("status");
	request.body = std::move(body);
	request.each.reset();
}

void adapt(Definition &definition, const ClientSettings &settings) {
	for (auto &object : definition.objects) {
		if (object.name != "members")
			continue;
		if (says(settings.sync_config, "keep_status", true))
			keep_status(object.requests.at("upsert"));
		if (says(settings.sync_config, "delete", "permanent")) {
			auto &request = object.requests.at("delete");
			request.method = "POST";
			request.encoding = Encoding::none;
			request.path += "/actions/delete-permanent";
		}
	}
}

void check_sync(const Json &settings, const Definition &) {
	auto config = settings.find("config"), fields = settings.find("fields");
	if (config == settings.end() || !config->is_object() || !says(nlohmann::json(*config), "keep_status", true))
		return;
	if (fields != settings.end() && fields->is_array())
		for (auto &field : *fields)
			if (field == "tags")
				throw Error("0A000", "sync \"" + settings.value("name", "") + "\": tags cannot be sent with keep_status",
				            "The request that keeps a status takes no tags.", "Leave out one of the two.");
}

} // namespace

BuiltinType mailchimp_type() {
	return {.adapt = adapt, .check_sync = check_sync};
}

} // namespace courier::builtin
