// One webhook for each change, or for a batch of them; with its type, or the record alone.

#include "destinations/builtin/builtin.hpp"

namespace courier::builtin {

namespace {

void adapt(Definition &definition, const ClientSettings &settings) {
	auto payload = settings.sync_config.find("payload");
	const bool record = payload != settings.sync_config.end() && *payload == "record";
	for (auto &[operation, request] : definition.objects.front().requests) {
		if (!record && settings.batch_size > 1)
			request.each = request.body;
		if (record || settings.batch_size > 1)
			request.body.reset(); // the record, or the array of a batch
	}
}

} // namespace

BuiltinType webhook_type() {
	return {.adapt = adapt};
}

} // namespace courier::builtin
