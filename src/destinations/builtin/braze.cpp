// Braze has attributes and identifiers side by side in one object, and an identifier has a form of its own: text, or for an
// alias two of them. Records get that form before the definition's requests see them.

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "destinations/builtin/builtin.hpp"
#include "destinations/declarative.hpp"
#include "destinations/rest_client.hpp"

namespace courier::builtin {

namespace {

using Json = nlohmann::ordered_json;

std::string text(const nlohmann::json &config, const char *key, std::string otherwise) {
	auto found = config.find(key);
	return found == config.end() || !found->is_string() ? otherwise : found->get<std::string>();
}

class BrazeClient final : public DeclarativeClient {
public:
	BrazeClient(Definition definition, const ClientSettings &settings)
	    : DeclarativeClient(std::move(definition), settings),
	      identifier_(text(settings.sync_config, "identifier", "external_id")),
	      alias_label_(text(settings.sync_config, "alias_label", "")),
	      existing_only_(settings.object == "users" ? settings.sync_config.value("existing_only", nlohmann::json()).dump()
	                                                : "null") {}

	Rendered render(Operation operation, std::span<const Record> batch,
	                std::chrono::system_clock::time_point now) override {
		std::vector<Record> sent(batch.begin(), batch.end());
		for (auto &record : sent) {
			auto value = field_text(record, identifier_);
			if (value.empty())
				continue; // `require` says so
			std::string name = json_string(value);
			if (identifier_ == "user_alias")
				name = "{\"alias_name\":" + name + ",\"alias_label\":" + json_string(alias_label_) + "}";
			record.fields = with_member(record.fields, identifier_, name);
			if (existing_only_ != "null" && operation == Operation::upsert)
				record.fields = with_member(record.fields, "_update_existing_only", existing_only_);
		}
		return DeclarativeClient::render(operation, sent, now);
	}

private:
	std::string identifier_, alias_label_, existing_only_;
};

void adapt(Definition &definition, const ClientSettings &settings) {
	const std::string identifier = text(settings.sync_config, "identifier", "external_id");
	if (identifier == "external_id")
		return;
	for (auto &object : definition.objects)
		for (auto &[operation, request] : object.requests) {
			request.require.front() = {identifier};
			if (request.each->is_object()) {
				Json each = {{identifier, "{{ " + identifier + " }}"}};
				for (auto &[name, value] : request.each->items())
					if (name != "external_id")
						each[name] = value;
				request.each = std::move(each);
			} else if (operation == "delete") {
				request.each = "{{ " + identifier + " }}";
				request.body = Json {{identifier == "user_alias" ? "user_aliases" : "braze_ids", "{{ records }}"}};
			}
		}
}

void check_sync(const Json &settings, const Definition &) {
	auto found = settings.find("config");
	const nlohmann::json config = found == settings.end() || !found->is_object() ? nlohmann::json::object() : nlohmann::json(*found);
	const std::string sync = "sync \"" + settings.value("name", "") + "\"", identifier = text(config, "identifier", "external_id");
	if (identifier == "user_alias" && text(config, "alias_label", "").empty())
		throw Error("22023", "config of " + sync + " lacks \"alias_label\"", "An alias is a name and a label.");
	// What tells records apart must be with every change, also where only what changed is sent.
	auto match = settings.find("match_on");
	if (settings.value("object", "") == "users" && match != settings.end() && *match != Json::array({identifier}))
		throw Error("22023", sync + " must match on " + identifier, "It is the sync's identifier.", "match_on => '{" + identifier + "}'");
	const bool deletes = settings.value("mode", "") == "mirror" || settings.value("on_removed", "") == "delete";
	if (deletes && (identifier == "email" || identifier == "phone"))
		throw Error("0A000", sync + ": Braze does not delete users by " + identifier, "It does by external_id, user_alias and braze_id.",
		            "Use another identifier, or mode upsert with on_removed => 'ignore'.");
}

} // namespace

BuiltinType braze_type() {
	return {.adapt = adapt,
	        .make_client = [](Definition definition, const ClientSettings &settings) -> std::unique_ptr<Client> {
		        return std::make_unique<BrazeClient>(std::move(definition), settings);
	        },
	        .check_sync = check_sync};
}

} // namespace courier::builtin
