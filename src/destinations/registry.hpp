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

std::vector<std::string> builtin_names();
bool is_builtin(std::string_view name);

// The definition of a type: the given one, which a user made, or where it is null that of the built-in type. Null for `http`,
// which has none. Throws Error 42704 where there is no such type.
nlohmann::ordered_json definition_or_builtin(const std::string &type, const nlohmann::ordered_json &definition);
// See BuiltinType::adapt and BuiltinType::check_sync. Both do nothing for a type that is not built in.
void adapt_builtin(Definition &definition, const ClientSettings &settings);
void check_builtin_sync(const std::string &type, const nlohmann::ordered_json &settings, const Definition &definition);

// Throws Error where the settings cannot make a client (a secret that is missing, a base_url that is none).
std::unique_ptr<Client> make_client(const ClientSettings &settings);

// The destination's config.tls and secret client_key.
http::TlsSettings tls_settings(const ClientSettings &settings);

// What courier.destination_types shows: description, sync_types, modes, operations, objects, limits, config, sync_config,
// secrets, docs.
nlohmann::ordered_json describe_type(const std::string &name, const nlohmann::ordered_json &definition);

// The sync's options over those of the definition (that of a built-in type is given).
nlohmann::json merged_options(const nlohmann::json &definition, const nlohmann::json &options);

} // namespace courier
