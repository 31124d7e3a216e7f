#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/record.hpp"
#include "pg/hash128.hpp"
#include "pg/own_table.hpp"
#include "pg/spi.hpp"

namespace courier::pg {

// What the worker keeps of a record while it is on its way; the record itself is with Delivery.
struct Underway {
	Tid tid;                       // of its change
	std::optional<UuidBytes> hash; // none for a removal
	std::int64_t origin = 0;
	bool former = false;      // one of the two that tell of a changed match value
	std::string former_value; // of the removal: which value, as rejected records know it; else empty
	bool in_snapshot = true;  // when its page was read, and where; {0, 0}: not known
	Tid snapshot_tid;
	std::optional<KeyBytes> snapshot_key; // this and the hash are all that its row there is to have
	Change change = Change::added; // as planned: counters go by it, whatever the destination made of it
};

// All of them, by the record's id: a place in an array, which the next record gets when this one is settled. A hash table costs an allocation
// and three look-ups a record, a twentieth of what a record costs.
class UnderwayRecords {
public:
	std::uint64_t add(Underway one) {
		if (free_.empty()) {
			entries_.push_back(std::move(one));
			return entries_.size();
		}
		const std::uint64_t id = free_.back();
		free_.pop_back();
		entries_[id - 1] = std::move(one);
		return id;
	}
	void erase(std::uint64_t id) { free_.push_back(id); }
	const Underway &operator[](std::uint64_t id) const { return entries_[id - 1]; }
	// A digest has no change, and the id 0.
	Tid tid(std::uint64_t id) const { return id == 0 ? Tid {} : entries_[id - 1].tid; }

private:
	std::vector<Underway> entries_;
	std::vector<std::uint64_t> free_;
};

} // namespace courier::pg
