#include <gtest/gtest.h>

#include "delivery_fakes.hpp"

using namespace courier;
using namespace courier::fake;

// How records become requests: batches, order, concurrency, window.

TEST(DeliveryBatches, RecordsTravelInBatchesOfTheDestinationsSize) {
	Bench bench;
	bench.client.common.batch_records = 3;
	bench.offer(1, 7);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	ASSERT_EQ(bench.sent(), 3u);
	EXPECT_EQ(bench.keys(0), "k1,k2,k3");
	EXPECT_EQ(bench.keys(1), "k4,k5,k6");
	EXPECT_EQ(bench.keys(2), "k7");
	EXPECT_EQ(bench.count(Outcome::succeeded), 7u);
	EXPECT_EQ(bench.failure(), "");
}

TEST(DeliveryBatches, OptionBatchSizeMakesThemSmallerButNeverLarger) {
	for (auto [size, expected] : {std::pair(2u, 3u), std::pair(100u, 2u)}) {
		Bench bench;
		bench.client.common.batch_records = 4;
		bench.options.batch_size = size;
		bench.offer(1, 6);
		bench.end();
		ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
		EXPECT_EQ(bench.sent(), expected);
	}
}

TEST(DeliveryBatches, ABatchIsCutByBytes) {
	Bench bench;
	bench.client.common.batch_records = 100;
	bench.client.common.batch_bytes = 100;
	bench.start();
	for (std::uint64_t id = 1; id <= 4; ++id) {
		auto record = Bench::record(id);
		record.fields = std::string(45, 'x');
		bench.delivery->offer(record);
	}
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.keys(0), "k1,k2");
}

TEST(DeliveryBatches, ARenderedBodyOverTheLimitIsHalvedAndLaterBatchesAreCutSmaller) {
	Bench bench;
	bench.client.common.batch_records = 100;
	bench.client.common.batch_bytes = 400;
	bench.client.inflate = 3; // the encoding needs three times the estimate
	bench.start();
	for (std::uint64_t id = 1; id <= 64; ++id) {
		auto record = Bench::record(id);
		record.fields = std::string(19, 'x');
		bench.delivery->offer(record);
	}
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	for (std::size_t i = 0; i < bench.sent(); ++i)
		EXPECT_LE(bench.request(i).body.size(), 400u);
	EXPECT_EQ(bench.count(Outcome::succeeded), 64u);
	// 20 records by the estimate: halved twice at first; then cut to 6 and never rendered in vain again.
	EXPECT_LE(static_cast<std::size_t>(bench.client.renders), bench.sent() + 3);
}

TEST(DeliveryBatches, ASingleRecordOverTheLimitIsSentForTheDestinationToJudge) {
	Bench bench;
	bench.client.common.batch_bytes = 1;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	EXPECT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.outcome(1), "succeeded");
}

TEST(DeliveryBatches, KnownBadRecordsTravelInBatchesOfTheirOwn) {
	Bench bench;
	bench.client.common.batch_records = 10;
	bench.client.common.concurrency = 4;
	bench.offer(1, 3, Change::added, true);
	bench.offer(4, 3, Change::added, false);
	bench.offer(7, 2, Change::added, true);
	bench.end();
	bench.step();
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.keys(0), "k4,k5,k6");
	EXPECT_EQ(bench.keys(1), "k1,k2,k3,k7,k8");
}

TEST(DeliveryBatches, EachChangeHasItsOwnOperation) {
	Bench bench;
	bench.client.common.batch_records = 10;
	bench.client.common.concurrency = 4;
	bench.offer(1, 2, Change::added);
	bench.offer(3, 2, Change::changed);
	bench.end();
	bench.step();
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.method(0) + " " + bench.keys(0), "insert k1,k2");
	EXPECT_EQ(bench.method(1) + " " + bench.keys(1), "update k3,k4");
}

TEST(DeliveryBatches, AChangeWithoutAnOperationSucceedsWithoutARequest) {
	Bench bench;
	bench.operations = {Operation::message, std::nullopt, std::nullopt};
	bench.offer(1, 1, Change::changed);
	bench.offer(2, 1, Change::removed);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(500); }));
	EXPECT_EQ(bench.sent(), 0u);
	EXPECT_EQ(bench.outcome(1), "succeeded");
	EXPECT_EQ(bench.outcome(2), "succeeded");
}

TEST(DeliveryBatches, RemovalsStartOnlyWhenEveryAdditionAndChangeIsSettled) {
	Bench bench;
	bench.client.common.concurrency = 8;
	bench.offer(1, 1, Change::added);
	bench.offer(2, 1, Change::changed);
	bench.offer(3, 2, Change::removed);
	bench.end();
	bench.step();
	ASSERT_EQ(bench.sent(), 2u);
	bench.reply(0, answer(200));
	EXPECT_EQ(bench.sent(), 2u);
	bench.reply(1, answer(503)); // waits for its retry: not settled
	bench.step_after(1min);
	ASSERT_EQ(bench.sent(), 3u);
	EXPECT_EQ(bench.method(2), "update");
	bench.reply(2, answer(400)); // rejected is settled
	ASSERT_EQ(bench.sent(), 5u);
	EXPECT_EQ(bench.method(3), "delete");
}

TEST(DeliveryBatches, HeldBackOutcomesDoNotHoldUpRemovals) {
	Bench bench;
	bench.offer(1, 1, Change::added);
	bench.offer(2, 1, Change::removed);
	bench.end();
	bench.step();
	bench.reply(0, answer(403));
	ASSERT_EQ(bench.sent(), 2u);
	bench.reply(1, answer(204));
	EXPECT_EQ(bench.outcome(1), "rejected http_403");
	EXPECT_EQ(bench.outcome(2), "succeeded");
	EXPECT_TRUE(bench.delivery->finished());
}

TEST(DeliveryBatches, ConcurrencyIsBoundedAndRefillIsContinuous) {
	Bench bench;
	bench.client.common.concurrency = 3;
	bench.offer(1, 10);
	bench.end();
	bench.step();
	EXPECT_EQ(bench.sent(), 3u);
	for (std::size_t i = 1; i < 8; ++i) { // request 0 is slow; the others go on without it
		bench.reply(i, answer(200));
		EXPECT_EQ(bench.transport.running(), 3u);
	}
	EXPECT_EQ(bench.sent(), 10u);
	EXPECT_EQ(bench.outcome(1), "none");
}

TEST(DeliveryBatches, OptionConcurrencyReplacesTheDestinations) {
	Bench bench;
	bench.client.common.concurrency = 8;
	bench.options.concurrency = 2;
	bench.offer(1, 10);
	bench.end();
	bench.step();
	EXPECT_EQ(bench.sent(), 2u);
}

TEST(DeliveryBatches, AWaitingRetryTakesNoSlot) {
	Bench bench;
	bench.offer(1, 3);
	bench.end();
	bench.step();
	bench.reply(0, answer(503));
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.keys(1), "k2");
}

TEST(DeliveryBatches, APartialBatchWaitsForMoreUntilTheEnd) {
	Bench bench;
	bench.client.common.batch_records = 3;
	bench.offer(1, 2);
	bench.step();
	EXPECT_EQ(bench.sent(), 0u);
	EXPECT_FALSE(bench.delivery->next_step());
	EXPECT_TRUE(bench.delivery->wants_more());
	bench.offer(3, 2);
	bench.step();
	ASSERT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.keys(0), "k1,k2,k3");
	bench.reply(0, answer(200));
	EXPECT_EQ(bench.sent(), 1u);
	bench.end();
	EXPECT_TRUE(bench.delivery->next_step());
	bench.step();
	EXPECT_EQ(bench.keys(1), "k4");
}

TEST(DeliveryBatches, TheFirstRemovalSendsOffThePartialBatches) {
	Bench bench;
	bench.client.common.batch_records = 3;
	bench.offer(1, 1);
	bench.offer(2, 1, Change::removed);
	bench.step();
	ASSERT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.keys(0), "k1");
}

TEST(DeliveryBatches, TheWindowIsFourBatchesForEachSlot) {
	Bench bench;
	bench.client.common.batch_records = 5;
	bench.client.common.concurrency = 2;
	bench.offer(1, 39);
	EXPECT_TRUE(bench.delivery->wants_more());
	bench.offer(40, 1);
	EXPECT_FALSE(bench.delivery->wants_more());
	bench.step();
	bench.reply(0, answer(200));
	EXPECT_TRUE(bench.delivery->wants_more());
}

TEST(DeliveryBatches, TheWindowIsBoundedInBytesToo) {
	Bench bench;
	bench.client.common = {.batch_records = 1000, .batch_bytes = 100 << 20, .concurrency = 8};
	bench.start();
	std::uint64_t id = 0;
	while (bench.delivery->wants_more()) {
		auto record = Bench::record(++id);
		record.fields.assign(1 << 20, 'x');
		bench.delivery->offer(std::move(record));
	}
	EXPECT_EQ(id, 32u);
	bench.step();
	EXPECT_EQ(bench.sent(), 1u) << "a closed window sends the partial batch, or it would stay closed for ever";
	bench.reply(0, answer(200));
	EXPECT_TRUE(bench.delivery->wants_more());
}

TEST(DeliveryBatches, AWindowFullOfPartialBatchesMovesOn) {
	Bench bench;
	bench.client.common.batch_records = 2;
	bench.offer(1, 7);
	bench.offer(8, 1, Change::changed);
	EXPECT_FALSE(bench.delivery->wants_more());
	for (std::size_t turn = 0; turn < 5 && bench.outcomes.size() < 8; ++turn) {
		bench.step();
		for (std::size_t i = 0; i < bench.sent(); ++i)
			if (bench.transport.sent[i].open)
				bench.transport.finish(i, answer(200));
	}
	EXPECT_TRUE(bench.delivery->wants_more());
}

TEST(DeliveryBatches, HeldBackOutcomesDoNotFillTheWindow) {
	Bench bench; // window of 4 records, and 10 answers held back
	bench.start();
	std::uint64_t id = 0;
	for (int turn = 0; turn < 100 && bench.failure().empty(); ++turn) {
		while (bench.delivery->wants_more())
			bench.offer(++id, 1);
		bench.step();
		bench.transport.finish(bench.sent() - 1, answer(403));
	}
	EXPECT_EQ(bench.failure(), "forbidden");
	EXPECT_EQ(bench.sent(), 10u);
}

TEST(DeliveryBatches, TheRateGateIsAskedBeforeEachRequestAndItsWaitIsReported) {
	Bench bench;
	bench.client.common.concurrency = 4;
	bench.offer(1, 2);
	bench.end();
	bench.gate.wait = 250ms;
	bench.step();
	EXPECT_EQ(bench.sent(), 0u);
	EXPECT_EQ(bench.delivery->next_step(), bench.now + 250ms);
	bench.gate.wait = 0ms;
	bench.step_after(100ms); // woken by something else: not asked again before its time
	EXPECT_EQ(bench.sent(), 0u);
	bench.step_after(150ms);
	EXPECT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.gate.granted, 2u);
}

TEST(DeliveryBatches, AGrantIsKeptWhenNothingCouldBeRendered) {
	Bench bench;
	bench.client.unrenderable = {"k1", "k2"};
	bench.offer(1, 3);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	EXPECT_EQ(bench.gate.granted, 1u);
}

TEST(DeliveryBatches, ARecordThatCannotBeRenderedIsRejectedAndTheOthersGo) {
	Bench bench;
	bench.client.common.batch_records = 3;
	bench.client.unrenderable = {"k2"};
	bench.offer(1, 3);
	bench.end();
	bench.step();
	ASSERT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.keys(0), "k1,k3");
	EXPECT_EQ(bench.outcome(2), "rejected bad_path_value");
	bench.reply(0, answer(207, "accepted rejected:nope"));
	EXPECT_EQ(bench.outcome(1), "succeeded");
	EXPECT_EQ(bench.outcome(3), "rejected nope");
}

TEST(DeliveryBatches, WhatARequestLeavesOutGoesInAnother) {
	Bench bench;
	bench.client.common.batch_records = 4;
	bench.client.group_by_first_letter = true;
	bench.start();
	for (std::uint64_t id = 1; id <= 4; ++id) {
		auto record = Bench::record(id);
		record.fields = id % 2 ? "a" : "b";
		bench.delivery->offer(record);
	}
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.keys(0), "k1,k3");
	EXPECT_EQ(bench.keys(1), "k2,k4");
	EXPECT_EQ(bench.count(Outcome::succeeded), 4u);
}

TEST(DeliveryBatches, RequestsAreRenderedWhenTheyAreSent) {
	Bench bench;
	bench.offer(1, 3);
	bench.end();
	bench.step();
	EXPECT_EQ(bench.client.renders, 1);
	bench.reply(0, answer(503));
	bench.reply(1, answer(200));
	bench.reply(2, answer(200));
	EXPECT_EQ(bench.client.renders, 3);
	bench.step_after(1min);
	EXPECT_EQ(bench.client.renders, 4);
}

TEST(DeliveryBatches, EveryRequestHasTheTimeoutOfTheOptions) {
	Bench bench;
	bench.options.timeout = 7s;
	bench.client.wants_token = true;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.request(0).timeout, 7s);
	EXPECT_EQ(bench.request(1).timeout, 7s);
	EXPECT_EQ(bench.delivery->requests(), 2u);
}

TEST(DeliveryBatches, NothingToDoIsFinishedAtOnce) {
	Bench bench;
	bench.start();
	EXPECT_FALSE(bench.delivery->finished());
	bench.end();
	EXPECT_TRUE(bench.delivery->finished());
	EXPECT_FALSE(bench.delivery->wants_more());
}

TEST(DeliveryBatches, OutcomesOfAHundredThousandRecordsInTheWindowOfAFew) {
	Bench bench;
	bench.client.common = {.batch_records = 100, .batch_bytes = 1 << 20, .concurrency = 4};
	bench.start();
	std::uint64_t id = 0, seen = 0;
	while (!bench.delivery->finished()) {
		while (bench.delivery->wants_more()) {
			if (id == 100'000) {
				bench.end();
				break;
			}
			bench.offer(++id, 1);
		}
		bench.delivery->step(bench.now, bench.wall);
		for (std::size_t i = 0; i < bench.sent(); ++i)
			bench.transport.finish(i, answer(200));
		bench.transport.sent.clear();
		ASSERT_LE(id - seen, 4u * 4 * 100 + 1);
		seen += bench.delivery->take_settled().size();
	}
	EXPECT_EQ(seen, 100'000u);
	EXPECT_EQ(bench.delivery->requests(), 1'000u);
}
