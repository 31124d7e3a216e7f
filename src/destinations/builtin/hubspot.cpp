// Contacts can be deleted for good, one by one and by their own field, in place of being archived; and the category of records that
// are not there is for the sync to say.

#include "core/error.hpp"
#include "destinations/builtin/builtin.hpp"

namespace courier::builtin {

namespace {

using Json = nlohmann::ordered_json;

bool deletes_for_good(const nlohmann::json &sync_config) {
	auto found = sync_config.find("delete");
	return found != sync_config.end() && *found == "gdpr";
}

void adapt(Definition &definition, const ClientSettings &settings) {
	if (auto missing = settings.sync_config.find("missing_category");
	    missing != settings.sync_config.end() && missing->is_string()) {
		Rule rule;
		rule.when.pointer = {"category"};
		rule.when.equals = *missing;
		rule.then = Verdict::missing;
		definition.response.records.rules.push_back(std::move(rule));
	}
	if (!deletes_for_good(settings.sync_config))
		return;
	for (auto &object : definition.objects)
		if (object.name == "*") {
			auto &request = object.requests.at("delete");
			request.path = "/crm/v3/objects/contacts/gdpr-delete";
			request.body = Json {{"objectId", "{{ match_value | string }}"}, {"idProperty", "{{ match_field }}"}};
			request.each.reset();
		}
}

void check_sync(const Json &settings, const Definition &) {
	auto config = settings.find("config"), match = settings.find("match_on");
	const std::string sync = "sync \"" + settings.value("name", "") + "\"", object = settings.value("object", "");
	if (config != settings.end() && config->is_object() && deletes_for_good(nlohmann::json(*config)) && object != "contacts")
		throw Error("22023", "config of " + sync + ": delete \"gdpr\" is for contacts",
		            "HubSpot deletes nothing else for good by this API.");
	const bool several = match != settings.end() && match->is_array() && match->size() > 1;
	if (several && object != "associations" && settings.value("mode", "") != "insert")
		throw Error("22023", sync + " must match on one field", "HubSpot tells records apart by one property of unique values.",
		            "match_on => '{email}'");
}

} // namespace

BuiltinType hubspot_type() {
	return {.adapt = adapt, .check_sync = check_sync};
}

} // namespace courier::builtin
