// People and events are told apart by an identifier of the sync's choice. It is the name of a member and of a field at once,
// which no template can say: the requests are written for `id`, and another one takes its place here.

#include "destinations/builtin/builtin.hpp"

namespace courier::builtin {

namespace {

void identify_by(RequestSpec &request, const std::string &field) {
	auto &identifiers = (*request.each)["identifiers"];
	if (!identifiers.contains("id"))
		return; // of an object
	identifiers = {{field, "{{ " + field + " | string }}"}};
	for (auto &names : request.require)
		if (names.front() == "id")
			names = {field};
}

void adapt(Definition &definition, const ClientSettings &settings) {
	auto given = settings.sync_config.find("identifier");
	if (given == settings.sync_config.end() || !given->is_string())
		return;
	for (auto &object : definition.objects)
		for (auto &[operation, request] : object.requests)
			identify_by(request, given->get<std::string>());
}

} // namespace

BuiltinType customerio_type() {
	return {.adapt = adapt};
}

} // namespace courier::builtin
