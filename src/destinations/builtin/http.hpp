#pragma once

// The destination type `http`: any HTTP API. It has no definition of its own; the destination's config and the sync's
// config together are one.

#include <nlohmann/json.hpp>
#include <string>

#include "destinations/definition.hpp"

namespace courier {

// From the destination's config. Throws Error that names the key.
Definition http_definition(const std::string &destination, const nlohmann::ordered_json &config);

// What a sync adds: requests, response, limits, idempotency (http), or idempotency and the declared keys (others).
void apply_sync_config(Definition &definition, const std::string &sync, const nlohmann::ordered_json &config);

} // namespace courier
