#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/client.hpp"
#include "core/record.hpp"

namespace courier {

// What delivery remembers about a record while it is under way, so that it goes back as it came.
struct Trail {
	Change offered = Change::added; // the record's own change moves when the destination says `exists` or `missing`
	bool existed = false;           // was sent again as changed
	bool missed = false;            // was sent again as added
	std::size_t key_length = 0;     // of the idempotency key as it was offered
	bool lost = false;              // a request with it was sent and had no answer: the destination may have done it
};

// Where a conversation about a batch is (conversation.cpp).
struct Talk {
	Operation operation = Operation::upsert;
	std::string state;
	std::int64_t job = 0;     // in the JobStore; 0: nothing is kept
	bool handed_over = false; // the destination works on the records by itself
	int attempts = 0;         // of the present step
	int polls = 0;
	std::optional<std::chrono::steady_clock::time_point> polling_since;
};

// Records that travel in one request. Records and trails stand side by side, because a client renders a span of
// records.
struct Batch {
	Change change = Change::added;
	std::vector<Record> records;
	std::vector<Trail> trails;
	int attempts = 0;        // answered attempts that count against max_attempts
	Budget budget;
	bool first_half = false; // of a refused batch, whose other half is the last of `then`
	std::optional<Talk> talk; // several requests for this batch, and it is between two of them or in one
	std::vector<Batch> then;  // what a bisection still has to send, last one first, once this batch is done with

	std::size_t size() const { return records.size(); }
	void add(Record &&record, const Trail &trail) {
		records.push_back(std::move(record));
		trails.push_back(trail);
	}
};

// Bytes of text that a record holds; what it was offered with, so that taking it away again comes out even.
std::size_t text_size(const Record &record);
// What a record is expected to add to a request body.
std::size_t body_estimate(const Record &record);
std::size_t body_estimate(const Batch &batch);

// Moves the records at `indexes` (ascending) out of `from` into a batch of their own; `from` is left with holes.
Batch pick(Batch &from, std::span<const std::size_t> indexes);
// Both halves, the first one the smaller when they differ. Attempts start anew: these are other requests.
std::pair<Batch, Batch> halve(Batch batch);

// Records that wait for their first request (or for their first one as another change), and how they are cut into
// batches. A batch holds one kind of change, and records that were rejected before never share one with good ones: a
// bad record costs its batch extra requests, and the good ones should not wait for that.
//
// Where a destination groups records (one channel, one list in a request) every group has an open batch of its own. So many
// open batches fill slowly, so there may be only so many: beyond that the fullest goes out as it is.
class Batcher {
public:
	// At most so many records and so many bytes of rendered body for this kind of change.
	void limit(Change change, std::size_t records, std::size_t bytes);
	void push(Record &&record, const Trail &trail, const Placement &placement = {});

	// True for a budget that has to wait: its records stay, and hold up no others.
	using Blocked = std::function<bool(const std::string &budget)>;
	// Is there a batch to take? Full ones always are; with `flush` also the others, because nothing will be added to them.
	bool can_take(bool removals, bool flush, const Blocked &blocked = {}) const;
	std::optional<Batch> take(bool removals, bool flush, const Blocked &blocked = {});
	// A rendered body was over the limit: the encoding needs more than the estimate. Cut smaller from now on.
	void overflowed(Change change, std::size_t estimated, std::size_t rendered);

	bool empty() const;
	std::vector<Batch> take_all(); // whatever is left, for a run that stops

private:
	struct Parcel {
		Record record;
		Trail trail;
		std::string unique;
		std::uint64_t number; // in the order they came
	};
	struct Limit {
		std::size_t records = 1;
		std::size_t bytes = 1 << 20; // estimated; smaller than declared once a body came out larger than its estimate
		std::size_t declared_bytes = 1 << 20;
	};
	// First in, first out, in one piece of memory: a deque would take a piece for each parcel.
	class Parcels {
	public:
		bool empty() const { return first_ == parcels_.size(); }
		std::size_t size() const { return parcels_.size() - first_; }
		Parcel &front() { return parcels_[first_]; }
		const Parcel &front() const { return parcels_[first_]; }
		void push_back(Parcel &&parcel);
		void pop_front() { ++first_; }
		void put_back(Parcel &&parcel) { parcels_[--first_] = std::move(parcel); } // one that was popped

	private:
		std::vector<Parcel> parcels_;
		std::size_t first_ = 0;
	};
	struct Queue {
		Parcels parcels;
		std::size_t bytes = 0; // estimated
		Budget budget;
	};
	using Groups = std::unordered_map<std::string, Queue>; // none is empty
	struct Chosen {
		std::size_t kind;
		std::string group;
	};

	static constexpr std::size_t most_groups = 64;
	static constexpr std::size_t kinds = 6; // added, changed, removed; each good and known bad
	static std::size_t kind(Change change, bool known_bad);
	static Change change_of(std::size_t kind);
	static bool full(const Queue &queue, const Limit &limit);
	std::optional<Chosen> choose(bool removals, bool flush, const Blocked &blocked) const;
	Batch cut(const Chosen &chosen, const Limit &limit);

	std::array<Groups, kinds> queues_;
	std::uint64_t pushed_ = 0;
	std::array<Limit, 3> limits_;
};

} // namespace courier
