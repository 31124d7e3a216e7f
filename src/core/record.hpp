#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/idempotency_key.hpp"

namespace courier {

enum class Change : char { added = 'a', changed = 'c', removed = 'r' };

enum class Operation { insert, update, upsert, del, clear, archive, event, message, add, remove };

std::string_view to_text(Change change);       // "added", "changed", "removed"
std::string_view to_text(Operation operation); // "insert", ..., "delete" for del
std::optional<Operation> operation_from(std::string_view text);

// One record on its way to a destination. Text is UTF-8; JSON stays the text that PostgreSQL wrote, so that numbers keep
// every digit (nothing here parses it into doubles).
struct Record {
	std::uint64_t id = 0; // the run worker's handle; given back unchanged in the record's outcome
	Change change = Change::added;
	bool known_bad = false;      // was rejected before: travels in batches of its own
	std::string key;             // canonical key text, for logs
	std::string key_json;        // the primary key as a JSON object
	std::string fields;          // the mapped record as a JSON object; for removals: the match fields (else the key)
	std::string previous;        // last accepted values of the match fields as a JSON object; empty: not known
	std::string remote_id;       // identifier the destination gave; empty: not known
	IdempotencyKey idempotency_key; // stable across retries of the same change
};

} // namespace courier
