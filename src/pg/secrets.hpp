#pragma once

#include <map>
#include <nlohmann/json.hpp>

#include "pg/guard.hpp"

namespace courier::pg {

// The values behind {"token": {"file": "name"} | {"env": "NAME"} | {"stored": true}}. In a transaction, connected to SPI.
// Error 58P01 / 42501 / 55000 names the secret and where it should have been, never a value.
std::map<std::string, std::string> resolve_secrets(int destination_id, const std::string &destination,
                                                   const nlohmann::json &references);

} // namespace courier::pg
