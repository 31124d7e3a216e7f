#pragma once

// The destination types that are in the library, as values, and clients for them and for the types that users make.

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/client.hpp"
#include "destinations/client_settings.hpp"
#include "destinations/definition.hpp"
#include "http/easy_request.hpp"

namespace courier {

struct BuiltinType {
	std::string_view name;
	nlohmann::ordered_json (*describe)();
	// Of a type whose client is a conversation: its definition, whose requests only say which operations there are, and
	// the client. Null: the client is made from the destination's config (http).
	nlohmann::ordered_json (*definition)() = nullptr;
	std::unique_ptr<Client> (*make)(const ClientSettings &) = nullptr;
	// What more has to hold for a sync: the settings of check_sync(), with mode, sync_type and object filled in. Throws Error.
	void (*check_sync)(const nlohmann::ordered_json &settings, const Definition &) = nullptr;
};

std::vector<BuiltinType> builtin_types();
bool is_builtin(std::string_view name);
// The definition of a built-in type that has one, else null.
nlohmann::ordered_json builtin_definition(std::string_view name);

// Throws Error where the settings cannot make a client (a secret that is missing, a base_url that is none).
std::unique_ptr<Client> make_client(const ClientSettings &settings);

// The destination's config.tls and secret client_key.
http::TlsSettings tls_settings(const ClientSettings &settings);

std::string type_description(const std::string &name); // one line; of a built-in type
// What courier.destination_types shows: description, sync_types, modes, operations, objects, limits, config, sync_config,
// secrets, docs.
nlohmann::ordered_json describe_type(const std::string &name, const nlohmann::ordered_json &definition);

// The sync's options over those of the definition.
nlohmann::json merged_options(const nlohmann::json &definition, const nlohmann::json &options);

} // namespace courier
