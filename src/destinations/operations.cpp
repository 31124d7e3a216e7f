#include "destinations/operations.hpp"

namespace courier {

OperationMap operations(std::string_view mode, std::string_view sync_type, std::string_view on_removed,
                        const Client &client) {
	OperationMap map;
	if (sync_type == "events") {
		map.added = client.serves(Operation::event, Change::added);
		return map;
	}
	if (sync_type == "notifications") {
		map.added = client.serves(Operation::message, Change::added);
		map.changed = client.serves(Operation::message, Change::changed);
		map.removed = client.serves(Operation::message, Change::removed);
		return map;
	}
	if (sync_type == "segments") {
		map.added = client.serves(Operation::add, Change::added);
		map.removed = client.serves(Operation::remove, Change::removed);
		return map;
	}
	if (mode == "insert") {
		map.added = client.serves(Operation::insert, Change::added);
	} else if (mode == "update") {
		map.added = client.serves(Operation::update, Change::added);
		map.changed = client.serves(Operation::update, Change::changed);
	} else {
		map.added = client.serves(Operation::upsert, Change::added);
		map.changed = client.serves(Operation::upsert, Change::changed);
	}
	if (on_removed == "delete" || mode == "mirror")
		map.removed = client.serves(Operation::del, Change::removed);
	else if (on_removed == "clear")
		map.removed = client.serves(Operation::clear, Change::removed);
	else if (on_removed == "archive")
		map.removed = client.serves(Operation::archive, Change::removed);
	return map;
}

} // namespace courier
