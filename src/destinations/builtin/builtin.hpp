#pragma once

// The destination types that are in the library. Each is one file of this folder:
//
//   NAME.json  a definition as courier.create_destination_type takes it. The build puts its text into the library.
//   NAME.cpp   only where a definition cannot say it all: `BuiltinType NAME_type()`, with the members that it needs.
//
// embed.sh makes all() of these files; nothing registers itself, and there is no list to keep. doc/destinations/README.md
// says how one is added.

#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "core/client.hpp"
#include "destinations/client_settings.hpp"
#include "destinations/definition.hpp"

namespace courier::builtin {

struct BuiltinType {
	std::string_view name, definition; // filled in by embed.sh; a type without a definition is `http`

	// Each is for what the definition cannot say by itself. Null: it can.
	//
	// Changes the definition by the config of the destination and of the sync: another request, another limit. Of the
	// settings, sync is empty for a destination alone, and secrets are not there yet.
	void (*adapt)(Definition &, const ClientSettings &) = nullptr;
	// Makes another client than DeclarativeClient: where a record or an answer must be seen before or beside the definition,
	// or for a conversation.
	std::unique_ptr<Client> (*make_client)(Definition, const ClientSettings &) = nullptr;
	// What more has to hold for a sync: the settings of check_sync(), with mode, sync_type and object filled in. Throws
	// Error.
	void (*check_sync)(const nlohmann::ordered_json &settings, const Definition &) = nullptr;
	// What courier.destination_types shows.
	nlohmann::ordered_json (*describe)() = nullptr;
};

std::vector<BuiltinType> all(); // ordered by name

} // namespace courier::builtin
