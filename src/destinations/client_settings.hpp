#pragma once

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace courier {

// A destination as one sync sees it: everything that a client is made from.
struct ClientSettings {
	std::string type;
	nlohmann::json definition; // null: a built-in type
	std::string destination;   // its name
	nlohmann::json config = nlohmann::json::object();
	std::map<std::string, std::string> secrets; // their values
	std::string sync, mode, sync_type,
	    object; // resolved by check_sync; sync is empty for a test of the destination alone
	nlohmann::json sync_config = nlohmann::json::object();
	std::vector<std::string> match_fields;
	std::size_t batch_size = 0; // 0: the destination's
	std::chrono::milliseconds timeout {30000};
	std::string run_id;
};

} // namespace courier
