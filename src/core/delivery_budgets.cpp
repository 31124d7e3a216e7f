#include <algorithm>

#include "core/delivery_state.hpp"
#include "core/retry.hpp"

// Budgets of keys: a channel, a base, an endpoint. They come on top of the destination's own rate and pause, and what
// waits for one of them holds up nobody else: its batches lie in `waiting`, its records stay in the batcher.
//
// A batch is taken first and asks for permission then, because only a batch has a budget. Refused, it is due when the
// budget is free again; the budget is blocked until then, so no second batch of it is cut meanwhile.

namespace courier {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_budgets = 1000; // that are remembered without need

} // namespace

bool Delivery::State::blocked(const std::string &budget) const {
	const auto its = budgets.find(budget);
	return its != budgets.end() && now < its->second.until;
}

// Batches that are due while their budget is not.
void Delivery::State::postpone_blocked() {
	while (!budgets.empty() && !waiting.empty() && waiting.begin()->first <= now) {
		auto due = std::find_if(waiting.begin(), waiting.upper_bound(now),
		                        [&](auto &its) { return blocked(its.second.budget.key); });
		if (due == waiting.end() || due->first > now)
			return;
		auto node = waiting.extract(due);
		node.key() = budgets[node.mapped().budget.key].until;
		waiting.insert(std::move(node));
	}
}

bool Delivery::State::acquire(const Budget &budget) {
	if (budget.key.empty())
		return true;
	const auto wait = gate.acquire(now, budget);
	if (wait <= 0ms)
		return true;
	if (budgets.size() > most_budgets)
		std::erase_if(budgets, [&](auto &its) { return its.second.until <= now && !its.second.throttled_since; });
	auto &until = budgets[budget.key].until;
	until = std::max(until, now + wait);
	return false;
}

void Delivery::State::throttled_alone(const Answer &answer, const Budget &budget) {
	auto &its = budgets[budget.key];
	if (!its.throttled_since)
		its.throttled_since = now;
	auto wait = std::min<Milliseconds>(client.wait(answer, wall).value_or(0ms), 24h * 365);
	if (wait <= 0ms) {
		if (now < its.until)
			return; // one of several that were under way when the first was told
		++its.silent_throttles;
		wait = std::max<Milliseconds>(1s, backoff(its.silent_throttles, 1s, options.backoff_cap, random()));
	}
	pause_alone(budget, wait);
	if (!stopping() && now - *its.throttled_since > options.max_wait)
		fail_throttled(wait);
}

void Delivery::State::pause_alone(const Budget &budget, Milliseconds wait) {
	wait = std::min<Milliseconds>(wait, 24h * 365);
	auto &until = budgets[budget.key].until;
	if (wait <= 0ms || now + wait <= until)
		return;
	until = now + wait;
	gate.throttled(wait, budget.key);
}

void Delivery::State::answered(const Budget &budget) {
	if (auto its = budgets.find(budget.key); its != budgets.end()) {
		its->second.throttled_since.reset();
		its->second.silent_throttles = 0;
	}
}

std::optional<Delivery::State::TimePoint> Delivery::State::first_unblocked() const {
	std::optional<TimePoint> first;
	for (auto &[key, its] : budgets)
		if (its.until > now && (!first || its.until < *first))
			first = its.until;
	return first;
}

// When all that is left waits for budgets, and for longer than a run may: it would only sit on its worker.
void Delivery::State::check_blocked() {
	if (stopping() || authorizing || !flights.empty() || sendable())
		return;
	if (!flush(removals_may_start()))
		return; // there may come others
	const auto first = first_unblocked();
	if (!first || *first - now <= options.max_wait || (waiting.empty() && batcher.empty()))
		return;
	if (waiting.empty() || waiting.begin()->first >= *first)
		fail_throttled(std::chrono::duration_cast<Milliseconds>(*first - now));
}

} // namespace courier
