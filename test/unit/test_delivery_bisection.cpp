#include <gtest/gtest.h>

#include <cmath>

#include "delivery_fakes.hpp"

using namespace courier;
using namespace courier::fake;

// Batches that were refused as a whole: the bad records are found, where sending again can do no harm.

TEST(DeliveryBisection, OneBadRecordInSixtyFourIsFoundWithTwelveMoreRequests) {
	for (std::uint64_t bad = 1; bad <= 64; ++bad) {
		Bench bench;
		bench.client.common = {.batch_records = 64, .batch_bytes = 1 << 20, .concurrency = 4};
		bench.offer(1, 64);
		bench.end();
		ASSERT_TRUE(bench.play([&](auto &request) {
			for (auto &key : split_keys(request))
				if (key == "k" + std::to_string(bad))
					return answer(400);
			return answer(200);
		}));
		EXPECT_LE(bench.sent() - 1, 12u);
		EXPECT_EQ(bench.outcome(bad), "rejected http_400");
		EXPECT_EQ(bench.count(Outcome::succeeded), 63u);
	}
}

TEST(DeliveryBisection, BisectionStaysWithinTwoLogNForAnySizeAndAnyBadRecords) {
	unsigned seed = 7;
	const auto draw = [&](unsigned below) {
		seed = seed * 1664525u + 1013904223u;
		return (seed >> 8) % below;
	};
	for (int turn = 0; turn < 300; ++turn) {
		const auto size = 2 + draw(120);
		std::set<std::string> bad;
		for (auto count = 1 + draw(4); count > 0; --count)
			bad.insert("k" + std::to_string(1 + draw(size)));
		Bench bench;
		bench.client.common = {.batch_records = size, .batch_bytes = 1 << 20, .concurrency = 1 + draw(3)};
		bench.options.max_rejected = 1;
		bench.offer(1, size);
		bench.end();
		ASSERT_TRUE(bench.play([&](auto &request) {
			for (auto &key : split_keys(request))
				if (bad.contains(key))
					return answer(400);
			return answer(200);
		}));
		EXPECT_LE(static_cast<double>(bench.sent() - 1), 2 * std::log2(size) * static_cast<double>(bad.size()))
		    << size << " records, " << bad.size() << " bad";
		EXPECT_EQ(bench.count(Outcome::rejected), bad.size());
		EXPECT_EQ(bench.count(Outcome::succeeded), size - bad.size());
	}
}

TEST(DeliveryBisection, BisectionSurvivesRetriesAndThrottlingOnItsWay) {
	Bench bench;
	bench.client.common.batch_records = 16;
	bench.offer(1, 16);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &request) mutable {
		if (++n % 3 == 0)
			return answer(n % 2 ? 503 : 429);
		for (auto &key : split_keys(request))
			if (key == "k11")
				return answer(400);
		return answer(200);
	}));
	EXPECT_EQ(bench.outcome(11), "rejected http_400");
	EXPECT_EQ(bench.count(Outcome::succeeded), 15u);
}

TEST(DeliveryBisection, AHalfThatHasGrownOverTheByteLimitMeanwhileLosesNothing) {
	Bench bench;
	bench.client.common = {.batch_records = 8, .batch_bytes = 30};
	bench.offer(1, 8);
	bench.end();
	bench.step();
	bench.client.inflate = 3;
	bench.reply(0, answer(400));
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	EXPECT_EQ(bench.count(Outcome::succeeded), 8u);
}

TEST(DeliveryBisection, ABisectionDoesNotHoldUpOtherBatches) {
	Bench bench;
	bench.client.common = {.batch_records = 4, .batch_bytes = 1 << 20, .concurrency = 2};
	bench.offer(1, 12);
	bench.end();
	bench.step();
	bench.reply(0, answer(400));
	ASSERT_EQ(bench.sent(), 3u);
	EXPECT_EQ(bench.keys(2), "k1,k2");
	bench.reply(1, answer(200));
	ASSERT_EQ(bench.sent(), 4u);
	EXPECT_EQ(bench.keys(3), "k9,k10,k11,k12");
}

TEST(DeliveryBisection, AnAtomicBatchIsBisectedEvenWhenItIsNotIdempotent) {
	Bench bench;
	bench.client.idempotent = false;
	bench.client.common.batch_records = 2;
	bench.client.common.atomic = true;
	bench.offer(1, 2);
	bench.end();
	ASSERT_TRUE(bench.play(
	    [](auto &request) { return answer(request.body.find("f1") != request.body.npos ? 400 : 200); }));
	EXPECT_EQ(bench.outcome(1), "rejected http_400");
	EXPECT_EQ(bench.outcome(2), "succeeded");
}

TEST(DeliveryBisection, AWholeRefusalThatMayNotBeRepeatedIsUnknownForEveryRecord) {
	Bench bench;
	bench.client.idempotent = false;
	bench.client.common.batch_records = 2;
	bench.offer(1, 2);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(400); }));
	EXPECT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.outcome(1), "unknown http_400");
	EXPECT_EQ(bench.outcome(2), "unknown http_400");
}

TEST(DeliveryBisection, RecordsThatTheAnswerNamedAreNotBisected) {
	Bench bench;
	bench.client.common.batch_records = 2;
	bench.offer(1, 2);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(400, "rejected:a rejected:a"); }));
	EXPECT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.outcome(1), "rejected a");
	EXPECT_EQ(bench.outcome(2), "rejected a");
}

TEST(DeliveryBisection, ASingleRecordRefusedAsAWholeIsRejected) {
	Bench bench;
	bench.client.idempotent = false;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(400); }));
	EXPECT_EQ(bench.outcome(1), "rejected http_400");
}
