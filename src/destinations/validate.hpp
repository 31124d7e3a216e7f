#pragma once

// What is checked when a destination or sync is created or altered, so that nothing about them is found out by a run.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace courier {

void check_destination_type(const std::string &name, const nlohmann::ordered_json &definition);

// `definition` is null for a built-in type.
void check_destination(const std::string &name, const std::string &type, const nlohmann::ordered_json &definition,
                       const nlohmann::ordered_json &config, const std::vector<std::string> &secret_names);

// Takes {"name", "type", "definition", "destination", "destination_config", "mode", "sync_type", "object", "on_removed",
// "first_run", "config", "options", "fields", "match_on", optionally "primary_key"} and gives it back with mode, sync_type,
// object, on_removed and first_run filled in.
nlohmann::ordered_json check_sync(nlohmann::ordered_json settings);

} // namespace courier
