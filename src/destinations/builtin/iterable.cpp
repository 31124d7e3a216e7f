// Users are told apart by e-mail address or by userId, as the project is set up: name of a member, of a field and of a path at
// once, which no template can say. The requests are written for `email`, and userId takes its place here.

#include "destinations/builtin/builtin.hpp"

namespace courier::builtin {

namespace {

using Json = nlohmann::ordered_json;

std::string text(const nlohmann::json &config, const char *key, std::string otherwise) {
	auto found = config.find(key);
	return found == config.end() || !found->is_string() ? otherwise : found->get<std::string>();
}

void identify_by_user_id(RequestSpec &request, bool project_by_email) {
	for (auto &names : request.require)
		if (names.front() == "email")
			names = {"userId"};
	if (request.path == "/api/users/{{ email }}")
		request.path = "/api/users/byUserId/{{ userId }}";
	if (!request.each || !request.each->is_object() || !request.each->contains("email"))
		return;
	Json each = {{"userId", "{{ userId | string }}"}};
	if (project_by_email && request.each->contains("mergeNestedObjects"))
		each["preferUserId"] = true; // else a project of e-mail addresses makes no user of an unknown userId
	for (auto &[name, value] : request.each->items())
		if (name != "email")
			each[name] = value;
	request.each = std::move(each);
}

void identify_by_user_id(Response &response) {
	for (auto &field : response.records.fields)
		if (field == "email")
			field = "userId";
	response.records.ignore_case = false;
}

void adapt(Definition &definition, const ClientSettings &settings) {
	const std::string project = text(settings.config, "project", "email");
	const bool by_user_id = text(settings.sync_config, "identifier", project == "userId" ? "userId" : "email") == "userId";
	for (auto &object : definition.objects) {
		// Failures are told by identifier: what was sent twice could not be told apart.
		if (object.name == "users" || object.name == "list" || object.name == "subscriptions")
			object.limits.unique = by_user_id ? "userId" : "email";
		if (!by_user_id)
			continue;
		for (auto &[operation, request] : object.requests)
			identify_by_user_id(request, project == "email");
		if (object.response)
			identify_by_user_id(*object.response);
	}
	if (by_user_id)
		identify_by_user_id(definition.response);
}

} // namespace

BuiltinType iterable_type() {
	return {.adapt = adapt};
}

} // namespace courier::builtin
