#include <gtest/gtest.h>

#include <cmath>

#include "delivery_fakes.hpp"

using namespace courier;
using namespace courier::fake;

// What an answer, or the lack of one, means for a record.

TEST(DeliveryVerdicts, AcceptedIsSucceededAndTheRecordComesBackAsItWas) {
	Bench bench;
	bench.offer(7, 1, Change::changed);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	auto &its = bench.outcomes.at(7);
	EXPECT_EQ(its.outcome, Outcome::succeeded);
	EXPECT_EQ(its.http_status, 200);
	EXPECT_EQ(its.record.key, "k7");
	EXPECT_EQ(its.record.fields, "f7");
	EXPECT_EQ(its.record.change, Change::changed);
	EXPECT_EQ(its.record.idempotency_key, "i7");
}

TEST(DeliveryVerdicts, PartlyRefusedBatchDividesAmongItsRecords) {
	Bench bench;
	bench.client.common.batch_records = 3;
	bench.offer(1, 3);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200, "accepted rejected:too_long accepted"); }));
	EXPECT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.outcome(1), "succeeded");
	EXPECT_EQ(bench.outcome(2), "rejected too_long");
	EXPECT_EQ(bench.outcomes.at(2).message, "message of too_long");
	EXPECT_EQ(bench.outcome(3), "succeeded");
}

TEST(DeliveryVerdicts, RejectedWithoutACodeIsNamedAfterItsStatus) {
	Bench bench;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(422); }));
	EXPECT_EQ(bench.outcome(1), "rejected http_422");
}

// exists, missing

TEST(DeliveryVerdicts, AnAddedRecordThatExistsIsSentAgainAsChanged) {
	Bench bench;
	bench.offer(1, 1);
	bench.end();
	bench.step();
	bench.reply(0, answer(409));
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.method(1), "update");
	EXPECT_EQ(bench.header(1, "Changes"), "changed");
	EXPECT_EQ(bench.header(1, "Idempotency-Key"), "i1-changed") << "another operation has another key";
	bench.reply(1, answer(200));
	EXPECT_EQ(bench.outcome(1), "succeeded");
	EXPECT_EQ(bench.outcomes.at(1).record.change, Change::added) << "the run counts it as it planned it";
	EXPECT_EQ(bench.outcomes.at(1).record.idempotency_key, "i1");
}

TEST(DeliveryVerdicts, ASecondExistsIsRejected) {
	Bench bench;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(409, "exists"); }));
	EXPECT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.outcome(1), "rejected exists");
}

TEST(DeliveryVerdicts, ExistsWithoutAnUpdateIsRejected) {
	Bench bench;
	bench.operations.changed.reset();
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(409, "exists:taken"); }));
	EXPECT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.outcome(1), "rejected taken");
}

TEST(DeliveryVerdicts, ThoseThatExistAreBatchedByTheLimitsOfTheUpdate) {
	Bench bench;
	bench.client.limits_of[Operation::insert] = {.batch_records = 4};
	bench.client.limits_of[Operation::update] = {.batch_records = 1};
	bench.offer(1, 4);
	bench.end();
	bench.step();
	bench.reply(0, answer(207, "accepted exists accepted exists"));
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	ASSERT_EQ(bench.sent(), 3u);
	EXPECT_EQ(bench.keys(1), "k2");
	EXPECT_EQ(bench.keys(2), "k4");
}

TEST(DeliveryVerdicts, AChangedRecordThatIsMissingIsSentAgainAsAdded) {
	Bench bench;
	bench.offer(1, 1, Change::changed);
	bench.end();
	bench.step();
	bench.reply(0, answer(404));
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.method(1), "insert");
	bench.reply(1, answer(201));
	EXPECT_EQ(bench.outcome(1), "succeeded");
}

TEST(DeliveryVerdicts, ADestinationThatContradictsItselfIsNotAskedForEver) {
	Bench bench;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &request) { return request.method == "insert" ? answer(409) : answer(404); }));
	EXPECT_EQ(bench.sent(), 3u); // insert: exists, update: missing, insert: exists
	EXPECT_EQ(bench.outcome(1), "rejected exists");
}

TEST(DeliveryVerdicts, MissingInModeUpdateIsSkipped) {
	for (auto change : {Change::added, Change::changed}) {
		Bench bench;
		bench.options.update_only = true;
		bench.operations.added = Operation::update;
		bench.offer(1, 1, change);
		bench.end();
		ASSERT_TRUE(bench.play([](auto &) { return answer(404); }));
		EXPECT_EQ(bench.sent(), 1u);
		EXPECT_EQ(bench.outcomes.at(1).outcome, Outcome::skipped);
	}
}

TEST(DeliveryVerdicts, MissingOnARemovalIsSucceeded) {
	Bench bench;
	bench.options.update_only = true;
	bench.offer(1, 1, Change::removed);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(404, "missing"); }));
	EXPECT_EQ(bench.outcomes.at(1).outcome, Outcome::succeeded);
}

// split

TEST(DeliveryVerdicts, SplitHalvesTheBatchWithoutCountingAnAttempt) {
	Bench bench;
	bench.options.max_attempts = 1;
	bench.client.common.batch_records = 8;
	bench.offer(1, 8);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &request) { return answer(split_keys(request).size() > 2 ? 413 : 200); }));
	EXPECT_EQ(bench.count(Outcome::succeeded), 8u);
	EXPECT_EQ(bench.sent(), 1u + 2 + 4);
}

TEST(DeliveryVerdicts, ASingleRecordThatIsTooLargeIsRejected) {
	Bench bench;
	bench.client.common.batch_records = 2;
	bench.offer(1, 2);
	bench.end();
	ASSERT_TRUE(bench.play(
	    [](auto &request) { return answer(request.body.find("f1") != request.body.npos ? 413 : 200); }));
	EXPECT_EQ(bench.outcome(1), "rejected http_413");
	EXPECT_EQ(bench.outcome(2), "succeeded");
}

// retry

TEST(DeliveryVerdicts, RetryBacksOffExponentiallyWithJitterUntilMaxAttempts) {
	Bench bench;
	bench.options.max_attempts = 4;
	bench.options.backoff_base = 500ms;
	bench.uniform = 0.5;
	bench.offer(1, 1);
	bench.end();
	bench.step();
	Milliseconds expected = 250ms;
	for (std::size_t attempt = 0; attempt < 3; ++attempt, expected *= 2) {
		bench.reply(attempt, answer(503));
		EXPECT_EQ(bench.delivery->next_step(), bench.now + expected);
		bench.step_after(expected - 1ms);
		EXPECT_EQ(bench.sent(), attempt + 1);
		bench.step_after(1ms);
		EXPECT_EQ(bench.sent(), attempt + 2);
	}
	bench.reply(3, answer(503));
	EXPECT_EQ(bench.outcome(1), "rejected http_503");
	EXPECT_TRUE(bench.delivery->finished());
	EXPECT_EQ(bench.failure(), "");
}

TEST(DeliveryVerdicts, ARetriedBatchKeepsItsRecordsAndSoItsIdempotencyKey) {
	Bench bench;
	bench.client.common.batch_records = 3;
	bench.offer(1, 9);
	bench.end();
	bench.step();
	const auto key = bench.header(0, "Idempotency-Key");
	bench.reply(0, answer(500));
	bench.step_after(1min);
	bench.reply(1, answer(200));
	EXPECT_EQ(bench.header(2, "Idempotency-Key"), key);
}

TEST(DeliveryVerdicts, OnlyTheRecordsThatAskForItAreRetried) {
	Bench bench;
	bench.client.common.batch_records = 3;
	bench.offer(1, 3);
	bench.end();
	bench.step();
	bench.reply(0, answer(207, "accepted retry rejected"));
	bench.step_after(1min);
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.keys(1), "k2");
}

TEST(DeliveryVerdicts, ServerErrorsAreRetriedForAnyRequest) {
	Bench bench;
	bench.client.idempotent = false;
	bench.offer(1, 1);
	bench.end();
	bench.step();
	bench.reply(0, answer(503));
	bench.step_after(1min);
	bench.reply(1, answer(200));
	EXPECT_EQ(bench.outcome(1), "succeeded");
}

// throttled

TEST(DeliveryVerdicts, ThrottlingPausesEverythingAsToldAndCountsNoAttempt) {
	Bench bench;
	bench.options.max_attempts = 1;
	bench.client.common.concurrency = 2;
	bench.offer(1, 4);
	bench.end();
	bench.step();
	bench.reply(0, answer(429, "", 30));
	EXPECT_EQ(bench.gate.told, std::vector<Milliseconds> {30s}) << "the other syncs of the destination are told";
	EXPECT_EQ(bench.sent(), 2u);
	bench.reply(1, answer(200));
	EXPECT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.delivery->next_step(), bench.now + 30s);
	bench.step_after(29s);
	EXPECT_EQ(bench.sent(), 2u);
	bench.step_after(1s);
	EXPECT_EQ(bench.sent(), 4u);
	EXPECT_EQ(bench.keys(2), "k1");
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return ++n < 20 ? answer(429, "", 1) : answer(200); }));
	EXPECT_EQ(bench.count(Outcome::succeeded), 4u);
}

TEST(DeliveryVerdicts, ThrottlingThatDoesNotSayHowLongGrowsFromOneSecond) {
	Bench bench;
	bench.offer(1, 1);
	bench.end();
	bench.step();
	for (std::size_t i = 0; i < 8; ++i) {
		bench.reply(i, answer(429));
		bench.step_after(std::chrono::ceil<Milliseconds>(*bench.delivery->next_step() - bench.now));
	}
	ASSERT_EQ(bench.gate.told.size(), 8u);
	EXPECT_EQ(bench.gate.told[0], 1s);
	for (std::size_t i = 1; i < 6; ++i)
		EXPECT_NEAR(static_cast<double>(bench.gate.told[i].count()), 1000 * std::pow(2, i), 100);
	EXPECT_LE(bench.gate.told[7], 60s);
	bench.reply(8, answer(200));
	EXPECT_EQ(bench.outcome(1), "succeeded");
}

TEST(DeliveryVerdicts, SeveralThrottledAnswersAtOnceAreOnePause) {
	Bench bench;
	bench.client.common.concurrency = 4;
	bench.offer(1, 4);
	bench.end();
	bench.step();
	for (std::size_t i = 0; i < 4; ++i)
		bench.transport.finish(i, answer(429));
	bench.step();
	EXPECT_EQ(bench.gate.told, std::vector<Milliseconds> {1s});
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
}

TEST(DeliveryVerdicts, AnAcceptedAnswerThatSaysNothingRemainsPausesToo) {
	Bench bench;
	bench.offer(1, 2);
	bench.end();
	bench.step();
	bench.reply(0, answer(200, "", 5));
	EXPECT_EQ(bench.outcome(1), "succeeded");
	EXPECT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.gate.told, std::vector<Milliseconds> {5s});
	bench.step_after(5s);
	EXPECT_EQ(bench.sent(), 2u);
}

// answers that do not fit

TEST(DeliveryVerdicts, ABadAnswerIsRetriedWhereTheRequestIsIdempotent) {
	Bench bench;
	bench.options.max_attempts = 3;
	bench.client.common.batch_records = 2;
	bench.offer(1, 2);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200, "bad"); }));
	EXPECT_EQ(bench.sent(), 3u);
	EXPECT_EQ(bench.outcome(1), "rejected bad_answer");
	EXPECT_EQ(bench.outcome(2), "rejected bad_answer");
}

TEST(DeliveryVerdicts, ABadAnswerToAnythingElseIsUnknown) {
	Bench bench;
	bench.client.idempotent = false;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200, "bad"); }));
	EXPECT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.outcome(1), "unknown bad_answer");
}

TEST(DeliveryVerdicts, FewerVerdictsThanRecordsIsABadAnswerForTheRest) {
	Bench bench;
	bench.client.idempotent = false;
	bench.client.common.batch_records = 3;
	bench.offer(1, 3);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200, "accepted accepted"); }));
	EXPECT_EQ(bench.outcome(2), "succeeded");
	EXPECT_EQ(bench.outcome(3), "unknown bad_answer");
}

TEST(DeliveryVerdicts, AnAnswerThatIsTooLargeIsABadAnswer) {
	for (bool idempotent : {true, false}) {
		Bench bench;
		bench.options.max_attempts = 2;
		bench.client.idempotent = idempotent;
		bench.offer(1, 1);
		bench.end();
		ASSERT_TRUE(bench.play([](auto &) { return broken(Transfer::too_large); }));
		EXPECT_EQ(bench.sent(), idempotent ? 2u : 1u);
		EXPECT_EQ(bench.outcome(1), idempotent ? "rejected bad_answer" : "unknown bad_answer");
		EXPECT_EQ(bench.failure(), "");
	}
}

// transfers

TEST(DeliveryVerdicts, WhatWasNotSentIsRetriedForAnyRequest) {
	for (auto transfer : {Transfer::unresolved, Transfer::refused, Transfer::unsent}) {
		Bench bench;
		bench.client.idempotent = false;
		bench.offer(1, 1);
		bench.end();
		ASSERT_TRUE(bench.play([&, n = 0](auto &) mutable { return ++n < 3 ? broken(transfer) : answer(200); }));
		EXPECT_EQ(bench.sent(), 3u);
		EXPECT_EQ(bench.outcome(1), "succeeded");
	}
}

TEST(DeliveryVerdicts, AfterTheDestinationWasHeardARecordThatCannotBeSentIsRejected) {
	Bench bench;
	bench.options.max_attempts = 2;
	bench.offer(1, 2);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return ++n == 1 ? answer(200) : broken(Transfer::refused); }));
	EXPECT_EQ(bench.outcome(2), "rejected connection_refused");
	EXPECT_EQ(bench.failure(), "");
}

TEST(DeliveryVerdicts, ALostAnswerIsAskedForAgainWithTheSameKeyWhereTheRequestIsIdempotent) {
	Bench bench;
	bench.client.common.batch_records = 2;
	bench.offer(1, 2);
	bench.end();
	bench.step();
	bench.reply(0, broken(Transfer::lost));
	bench.step_after(1min);
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.header(1, "Idempotency-Key"), bench.header(0, "Idempotency-Key"));
	bench.reply(1, answer(200));
	EXPECT_EQ(bench.count(Outcome::succeeded), 2u);
}

TEST(DeliveryVerdicts, ALostAnswerToAnythingElseIsUnknown) {
	Bench bench;
	bench.client.idempotent = false;
	bench.offer(1, 2);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return ++n == 1 ? broken(Transfer::lost) : answer(200); }));
	EXPECT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.outcome(1), "unknown connection_lost");
	EXPECT_EQ(bench.outcome(2), "succeeded");
}

// credentials

TEST(DeliveryVerdicts, ATokenIsFetchedBeforeAnythingElseIsSent) {
	Bench bench;
	bench.client.common.concurrency = 4;
	bench.client.wants_token = true;
	bench.offer(1, 4);
	bench.end();
	bench.step();
	bench.step_after(1s);
	ASSERT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.method(0), "TOKEN");
	bench.reply(0, answer(200));
	EXPECT_EQ(bench.sent(), 5u);
}

TEST(DeliveryVerdicts, TokensMayExpireAsOftenAsTheyLike) {
	Bench bench;
	bench.client.wants_token = true;
	bench.offer(1, 8);
	bench.end();
	ASSERT_TRUE(bench.play([&](auto &request) {
		if (request.method != "TOKEN")
			bench.client.wants_token = true;
		return answer(200);
	}));
	EXPECT_EQ(bench.failure(), "");
	EXPECT_EQ(bench.client.tokens, 8);
	EXPECT_EQ(bench.count(Outcome::succeeded), 8u);
}

TEST(DeliveryVerdicts, A401RefreshesTheTokenOnceAndSendsAgainWithoutCountingAnAttempt) {
	Bench bench;
	bench.options.max_attempts = 1;
	bench.client.refreshable = true;
	bench.client.common.concurrency = 3;
	bench.offer(1, 3);
	bench.end();
	bench.step();
	bench.reply(0, answer(401));
	ASSERT_EQ(bench.sent(), 4u);
	EXPECT_EQ(bench.method(3), "TOKEN");
	bench.reply(1, answer(401)); // had the old token as well
	bench.reply(3, answer(200));
	bench.reply(2, answer(401)); // and this one answers late
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	EXPECT_EQ(bench.client.forgotten, 1);
	EXPECT_EQ(bench.count(Outcome::succeeded), 3u);
	EXPECT_EQ(bench.failure(), "");
}
