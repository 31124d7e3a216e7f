#include <gtest/gtest.h>

#include <random>

#include "delivery_fakes.hpp"

using namespace courier;
using namespace courier::fake;

// Whatever the destination says and the network does, every record that was offered is settled exactly once, no record
// is in two requests at once, removals come last, and delivery comes to an end. 3,000 seeded runs.

namespace {

class Chaos {
public:
	explicit Chaos(unsigned seed) : draw_(seed) {}
	unsigned below(unsigned n) { return std::uniform_int_distribution<unsigned>(0, n - 1)(draw_); }
	bool one_in(unsigned n) { return below(n) == 0; }

	// A run has moods: some destinations are mostly fine, some refuse, some are down.
	Answer answer(const Request &request, unsigned mood) {
		static const std::array<const char *, 11> words {"accepted", "exists", "missing", "rejected:no", "split", "retry",
		                                                 "throttled", "auth", "gone", "bad", "accepted"};
		static const std::array<Transfer, 8> ends {Transfer::unresolved, Transfer::refused,   Transfer::tls,
		                                           Transfer::blocked,    Transfer::unsent,    Transfer::lost,
		                                           Transfer::too_large,  Transfer::cancelled};
		static const std::array<int, 12> statuses {200, 201, 400, 401, 403, 404, 409, 410, 413, 422, 429, 503};
		if (request.method == "TOKEN")
			return fake::answer(one_in(6) ? 400 + static_cast<int>(below(2)) * 103 : 200);
		if (mood == 1 && !one_in(20))
			return fake::answer(403);
		if (mood == 2 && !one_in(20))
			return broken(ends[below(2)]);
		if (mood == 3 && !one_in(4))
			return fake::answer(200);
		if (one_in(15))
			return broken(one_in(4) ? ends[below(8)] : ends[below(2) * 5]);
		auto its = fake::answer(statuses[below(12)]);
		if (one_in(2)) {
			const auto count = one_in(5) ? below(6) : split_keys(request).size();
			for (std::size_t i = 0; i < count; ++i)
				its.body += std::string(one_in(3) ? words[below(11)] : "accepted") + " ";
		}
		if (one_in(10))
			its.headers.push_back({"retry-after", std::to_string(one_in(20) ? 5000 : below(3))});
		return its;
	}

private:
	std::mt19937 draw_;
};

void run(unsigned seed) {
	Chaos chaos(seed);
	Bench bench;
	bench.client.common = {.batch_records = 1 + chaos.below(8),
	                       .batch_bytes = chaos.one_in(3) ? 20u : 1u << 20,
	                       .concurrency = 1 + chaos.below(5),
	                       .atomic = chaos.one_in(2)};
	if (chaos.one_in(2))
		bench.client.limits_of[Operation::update] = {.batch_records = 1 + chaos.below(3), .concurrency = 2};
	bench.client.idempotent = chaos.one_in(2);
	bench.client.refreshable = chaos.one_in(2);
	bench.client.wants_token = chaos.one_in(4);
	bench.client.group_by_first_letter = chaos.one_in(4);
	if (chaos.one_in(2)) { // records that may not share a request, and budgets of their own
		const bool unique = chaos.one_in(3), budgets = chaos.one_in(2), alone = chaos.one_in(2);
		const auto rate = chaos.one_in(2) ? std::optional(20.0) : std::nullopt;
		bench.client.common.grouped = true;
		for (auto &[operation, limits] : bench.client.limits_of)
			limits.grouped = true;
		bench.client.place = [=](Operation, const Record &record) {
			Placement place {.group = record.fields.substr(0, 1)};
			if (unique)
				place.unique = record.fields;
			if (budgets)
				place.budget = {"=" + std::to_string(record.fields.size() % 3), rate, alone};
			return place;
		};
	}
	bench.client.inflate = 1 + static_cast<int>(chaos.below(3));
	bench.options.update_only = chaos.one_in(4);
	bench.options.max_attempts = 1 + static_cast<int>(chaos.below(4));
	bench.options.max_rejected = chaos.one_in(2) ? 1.0 : 0.3;
	if (chaos.one_in(4))
		bench.options.max_rejected_count = chaos.below(20);
	bench.options.log_all = chaos.one_in(4);
	for (auto *operation : {&bench.operations.added, &bench.operations.changed, &bench.operations.removed})
		if (chaos.one_in(8))
			operation->reset();
	bench.uniform = chaos.below(100) / 100.0;
	bench.start();

	const std::size_t upserts = chaos.below(150), removals = chaos.below(40), total = upserts + removals;
	const unsigned mood = chaos.below(6);
	const auto cancel_at = chaos.one_in(6) ? chaos.below(60) : 1'000'000;
	std::size_t offered = 0, answered = 0;
	std::map<std::string, Change> offered_as;
	bool settled_upserts_before_removals = true;
	for (unsigned turn = 0; !bench.delivery->finished(); ++turn) {
		ASSERT_LT(turn, 20'000u) << "no end";
		while (offered < total && bench.delivery->wants_more()) {
			auto record = Bench::record(offered, offered >= upserts          ? Change::removed
			                                     : chaos.one_in(2)           ? Change::added
			                                                                 : Change::changed);
			record.known_bad = chaos.one_in(10);
			record.fields = std::string(1, chaos.one_in(2) ? 'a' : 'b') + std::string(chaos.below(9), 'x');
			if (chaos.one_in(30))
				bench.client.unrenderable.insert(record.key);
			offered_as[record.key] = record.change;
			bench.delivery->offer(std::move(record));
			++offered;
			if (chaos.one_in(20))
				break;
		}
		if (offered == total)
			bench.end();
		if (turn == cancel_at)
			bench.delivery->cancel();
		bench.gate.wait = chaos.one_in(20) ? Milliseconds(chaos.below(500)) : 0ms;

		const auto before = bench.sent();
		bench.step();
		std::set<std::string> on_their_way;
		for (std::size_t i = 0; i < bench.sent(); ++i) {
			if (!bench.transport.sent[i].open)
				continue;
			if (const auto &body = bench.request(i).body; bench.client.place && bench.method(i) != "TOKEN") {
				for (std::size_t at = body.find('\n'); at + 1 < body.size(); at = body.find('\n', at + 1)) {
					ASSERT_EQ(body[at + 1], body[0]) << "two groups in a request";
				}
			}
			for (auto &key : split_keys(bench.request(i)))
				ASSERT_TRUE(on_their_way.insert(key).second) << key << " is in two requests at once";
			if (i >= before && bench.method(i) == "delete")
				for (auto &key : on_their_way)
					settled_upserts_before_removals = settled_upserts_before_removals && offered_as[key] == Change::removed;
		}
		ASSERT_LE(bench.transport.running(), std::max<std::size_t>(bench.client.common.concurrency, 2));

		std::vector<std::size_t> open;
		for (std::size_t i = 0; i < bench.sent(); ++i)
			if (bench.transport.sent[i].open)
				open.push_back(i);
		if (!open.empty() && !chaos.one_in(4)) {
			const auto index = open[chaos.below(static_cast<unsigned>(open.size()))];
			bench.transport.finish(index, chaos.answer(bench.request(index), mood));
			++answered;
		} else if (const auto next = bench.delivery->next_step(); next && *next > bench.now) {
			bench.now += std::chrono::ceil<Milliseconds>(*next - bench.now);
		} else if (open.empty() && !next && !bench.delivery->finished()) {
			ASSERT_TRUE(offered < total && bench.delivery->wants_more()) << "stuck";
		}
	}
	bench.collect();
	EXPECT_FALSE(bench.settled_twice);
	EXPECT_EQ(bench.outcomes.size(), offered) << answered << " answers";
	EXPECT_TRUE(settled_upserts_before_removals);
	for (auto &[id, its] : bench.outcomes) {
		EXPECT_EQ(its.record.key, "k" + std::to_string(id));
		EXPECT_EQ(its.record.idempotency_key, "i" + std::to_string(id));
		EXPECT_EQ(its.record.change, offered_as[its.record.key]);
		EXPECT_FALSE(its.record.fields.empty());
	}
	const auto failure = bench.failure();
	const bool refused = failure == "forbidden" || failure == "gone";
	for (auto &[id, its] : bench.outcomes) {
		if (its.outcome == Outcome::rejected && refused) {
			EXPECT_NE(its.http_status, 403);
			EXPECT_NE(its.http_status, 410);
		}
		if (its.outcome == Outcome::aborted && failure.empty()) {
			EXPECT_EQ(its.code, "cancelled");
		}
	}
}

} // namespace

TEST(DeliveryProperty, EveryRecordIsSettledExactlyOnceWhateverHappens) {
	for (unsigned seed = 1; seed <= 3000 && !testing::Test::HasFailure(); ++seed) {
		SCOPED_TRACE("seed " + std::to_string(seed));
		run(seed);
	}
}
