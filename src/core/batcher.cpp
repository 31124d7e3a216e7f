#include "core/batcher.hpp"

#include <algorithm>
#include <limits>
#include <unordered_set>

namespace courier {

namespace {

std::size_t position(Change change) {
	return change == Change::added ? 0 : change == Change::changed ? 1 : 2;
}

} // namespace

std::size_t text_size(const Record &record) {
	// Not the idempotency key: it grows when the record is sent again as another change. Nor the remote id, which a
	// conversation may find out.
	return record.key.size() + record.key_json.size() + record.fields.size() + record.previous.size();
}

std::size_t body_estimate(const Record &record) {
	return record.fields.size() + 1; // and a separator
}

std::size_t body_estimate(const Batch &batch) {
	std::size_t bytes = 0;
	for (auto &record : batch.records)
		bytes += body_estimate(record);
	return bytes;
}

Batch pick(Batch &from, std::span<const std::size_t> indexes) {
	Batch picked;
	picked.change = from.change;
	picked.attempts = from.attempts;
	picked.budget = from.budget;
	picked.records.reserve(indexes.size());
	picked.trails.reserve(indexes.size());
	for (auto index : indexes)
		picked.add(std::move(from.records[index]), from.trails[index]);
	return picked;
}

std::pair<Batch, Batch> halve(Batch batch) {
	const auto middle = batch.size() / 2;
	std::pair<Batch, Batch> halves;
	halves.first.change = halves.second.change = batch.change;
	halves.first.budget = halves.second.budget = batch.budget;
	for (std::size_t i = 0; i < batch.size(); ++i)
		(i < middle ? halves.first : halves.second).add(std::move(batch.records[i]), batch.trails[i]);
	return halves;
}

std::size_t Batcher::kind(Change change, bool known_bad) {
	return position(change) * 2 + (known_bad ? 1 : 0);
}

Change Batcher::change_of(std::size_t kind) {
	constexpr std::array changes {Change::added, Change::changed, Change::removed};
	return changes[kind / 2];
}

void Batcher::limit(Change change, std::size_t records, std::size_t bytes) {
	bytes = std::max<std::size_t>(bytes, 1);
	limits_[position(change)] = {std::max<std::size_t>(records, 1), bytes, bytes};
}

// Those that were popped make room when they are as many as the others, so that each parcel moves once more at most.
void Batcher::Parcels::push_back(Parcel &&parcel) {
	if (parcels_.size() == parcels_.capacity() && first_ >= size()) {
		parcels_.erase(parcels_.begin(), parcels_.begin() + static_cast<std::ptrdiff_t>(first_));
		first_ = 0;
	}
	parcels_.push_back(std::move(parcel));
}

void Batcher::push(Record &&record, const Trail &trail, const Placement &placement) {
	std::string name = placement.group;
	if (!placement.budget.key.empty())
		(name += '\0') += placement.budget.key;
	auto &queue = queues_[kind(record.change, record.known_bad)][name];
	queue.budget = placement.budget;
	queue.bytes += body_estimate(record);
	queue.parcels.push_back({std::move(record), trail, placement.unique, ++pushed_});
}

bool Batcher::full(const Queue &queue, const Limit &limit) {
	return queue.parcels.size() >= limit.records || queue.bytes >= limit.bytes;
}

std::optional<Batcher::Chosen> Batcher::choose(bool removals, bool flush, const Blocked &blocked) const {
	// Good records first: what they get for an answer says more about the destination.
	constexpr std::array<std::size_t, 4> upserts {0, 2, 1, 3};
	constexpr std::array<std::size_t, 2> deletes {4, 5};
	const auto order = removals ? std::span<const std::size_t>(deletes) : std::span<const std::size_t>(upserts);
	const auto first = [](const Queue &queue) { return queue.parcels.front().number; };
	std::optional<Chosen> partial;
	for (auto kind : order) {
		const Groups::value_type *filled = nullptr, *fullest = nullptr;
		std::size_t open = 0;
		for (auto &group : queues_[kind]) {
			auto &queue = group.second;
			if (blocked && !queue.budget.key.empty() && blocked(queue.budget.key))
				continue;
			++open;
			if (full(queue, limits_[kind / 2]) && (!filled || first(queue) < first(filled->second)))
				filled = &group;
			if (!fullest || queue.parcels.size() > fullest->second.parcels.size() ||
			    (queue.parcels.size() == fullest->second.parcels.size() && first(queue) < first(fullest->second)))
				fullest = &group;
		}
		if (!filled && open > most_groups)
			filled = fullest;
		if (filled)
			return Chosen {kind, filled->first};
		if (fullest && !partial)
			partial = Chosen {kind, fullest->first};
	}
	return flush ? partial : std::nullopt;
}

bool Batcher::can_take(bool removals, bool flush, const Blocked &blocked) const {
	return choose(removals, flush, blocked).has_value();
}

std::optional<Batch> Batcher::take(bool removals, bool flush, const Blocked &blocked) {
	const auto chosen = choose(removals, flush, blocked);
	if (!chosen)
		return std::nullopt;
	return cut(*chosen, limits_[chosen->kind / 2]);
}

Batch Batcher::cut(const Chosen &chosen, const Limit &limit) {
	auto &groups = queues_[chosen.kind];
	auto &queue = groups.at(chosen.group);
	Batch batch;
	batch.change = change_of(chosen.kind);
	batch.budget = queue.budget;
	const auto average = std::max<std::size_t>(queue.bytes / queue.parcels.size(), 1);
	const auto most = std::min({limit.records, queue.parcels.size(), limit.bytes / average + 1});
	batch.records.reserve(most);
	batch.trails.reserve(most);
	std::size_t bytes = 0;
	std::unordered_set<std::string> taken;
	std::deque<Parcel> twice; // the batch has their like already
	while (!queue.parcels.empty() && batch.size() < limit.records) {
		auto &next = queue.parcels.front();
		if (!next.unique.empty() && taken.contains(next.unique)) {
			twice.push_back(std::move(next));
			queue.parcels.pop_front();
			continue;
		}
		const auto size = body_estimate(next.record);
		if (batch.size() > 0 && bytes + size > limit.bytes)
			break;
		bytes += size;
		if (!next.unique.empty())
			taken.insert(std::move(next.unique));
		batch.add(std::move(next.record), next.trail);
		queue.parcels.pop_front();
	}
	for (; !twice.empty(); twice.pop_back())
		queue.parcels.put_back(std::move(twice.back()));
	queue.bytes -= bytes;
	if (queue.parcels.empty())
		groups.erase(chosen.group);
	return batch;
}

void Batcher::overflowed(Change change, std::size_t estimated, std::size_t rendered) {
	if (rendered <= estimated)
		return;
	// From the declared limit, not from the present one: the halves of a batch that was too large must not count twice.
	// Never below a quarter: one odd record should not make every later batch tiny.
	auto &limit = limits_[position(change)];
	const double ratio = std::max(0.25, static_cast<double>(estimated) / static_cast<double>(rendered));
	const auto cut_at = static_cast<std::size_t>(static_cast<double>(limit.declared_bytes) * ratio);
	limit.bytes = std::max<std::size_t>(std::min(limit.bytes, cut_at), 1);
}

bool Batcher::empty() const {
	return std::all_of(queues_.begin(), queues_.end(), [](auto &groups) { return groups.empty(); });
}

std::vector<Batch> Batcher::take_all() {
	std::vector<Batch> all;
	constexpr auto most = std::numeric_limits<std::size_t>::max();
	constexpr Limit none {most, most, most};
	for (std::size_t kind = 0; kind < kinds; ++kind)
		while (!queues_[kind].empty())
			all.push_back(cut({kind, queues_[kind].begin()->first}, none));
	return all;
}

} // namespace courier
