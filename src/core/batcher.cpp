#include "core/batcher.hpp"

#include <algorithm>
#include <limits>

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

void Batcher::push(Record record, Trail trail) {
	auto &queue = queues_[kind(record.change, record.known_bad)];
	queue.bytes += body_estimate(record);
	queue.parcels.push_back({std::move(record), trail});
}

bool Batcher::full(std::size_t kind) const {
	const auto &queue = queues_[kind];
	const auto &limit = limits_[kind / 2];
	return queue.parcels.size() >= limit.records || (!queue.parcels.empty() && queue.bytes >= limit.bytes);
}

std::optional<std::size_t> Batcher::choose(bool removals, bool flush) const {
	// Good records first: what they get for an answer says more about the destination.
	constexpr std::array<std::size_t, 4> upserts {0, 2, 1, 3};
	constexpr std::array<std::size_t, 2> deletes {4, 5};
	const auto order = removals ? std::span<const std::size_t>(deletes) : std::span<const std::size_t>(upserts);
	for (auto kind : order)
		if (full(kind))
			return kind;
	if (flush)
		for (auto kind : order)
			if (!queues_[kind].parcels.empty())
				return kind;
	return std::nullopt;
}

bool Batcher::can_take(bool removals, bool flush) const {
	return choose(removals, flush).has_value();
}

std::optional<Batch> Batcher::take(bool removals, bool flush) {
	const auto kind = choose(removals, flush);
	if (!kind)
		return std::nullopt;
	return cut(*kind, limits_[*kind / 2]);
}

Batch Batcher::cut(std::size_t kind, const Limit &limit) {
	auto &queue = queues_[kind];
	Batch batch;
	batch.change = change_of(kind);
	std::size_t bytes = 0;
	while (!queue.parcels.empty() && batch.size() < limit.records) {
		auto &next = queue.parcels.front();
		const auto size = body_estimate(next.record);
		if (batch.size() > 0 && bytes + size > limit.bytes)
			break;
		bytes += size;
		batch.add(std::move(next.record), next.trail);
		queue.parcels.pop_front();
	}
	queue.bytes -= bytes;
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
	return std::all_of(queues_.begin(), queues_.end(), [](auto &queue) { return queue.parcels.empty(); });
}

std::vector<Batch> Batcher::take_all() {
	std::vector<Batch> all;
	constexpr auto most = std::numeric_limits<std::size_t>::max();
	constexpr Limit none {most, most, most};
	for (std::size_t kind = 0; kind < kinds; ++kind)
		if (!queues_[kind].parcels.empty())
			all.push_back(cut(kind, none));
	return all;
}

} // namespace courier
