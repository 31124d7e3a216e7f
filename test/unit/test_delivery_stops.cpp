#include <gtest/gtest.h>

#include "delivery_fakes.hpp"

using namespace courier;
using namespace courier::fake;

// What ends a run before its last record, and what becomes of the rest.

namespace {

// Every failure says what happened and what to do, and gives no secret away.
void expect_for_people(const Bench &bench) {
	ASSERT_TRUE(bench.delivery->failure());
	auto &failure = *bench.delivery->failure();
	EXPECT_GT(failure.message.size(), 20u);
	EXPECT_GT(failure.hint.size(), 20u);
	EXPECT_EQ((failure.message + failure.hint).find("s3cret"), std::string::npos);
}

} // namespace

TEST(DeliveryStops, A401WithoutATokenToRefreshStopsTheRunAndRejectsNothing) {
	Bench bench;
	bench.offer(1, 3);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return answer(++n == 1 ? 200 : 401); }));
	EXPECT_EQ(bench.failure(), "credentials");
	expect_for_people(bench);
	EXPECT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.outcome(1), "succeeded");
	EXPECT_EQ(bench.outcome(2), "aborted credentials");
	EXPECT_EQ(bench.outcome(3), "aborted credentials");
}

TEST(DeliveryStops, ASecond401AfterARefreshStopsTheRun) {
	Bench bench;
	bench.client.refreshable = true;
	bench.offer(1, 2);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &request) { return answer(request.method == "TOKEN" ? 200 : 401); }));
	EXPECT_EQ(bench.failure(), "credentials");
	EXPECT_EQ(bench.sent(), 3u); // 401, token, 401
	EXPECT_EQ(bench.count(Outcome::aborted), 2u);
}

TEST(DeliveryStops, ARefusedTokenRequestStopsTheRun) {
	Bench bench;
	bench.client.wants_token = true;
	bench.offer(1, 2);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(400); }));
	EXPECT_EQ(bench.failure(), "credentials");
	expect_for_people(bench);
	EXPECT_NE(bench.delivery->failure()->message.find("invalid_client for [secret]"), std::string::npos);
	EXPECT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.count(Outcome::aborted), 2u);
}

TEST(DeliveryStops, ATokenEndpointThatIsDownIsAskedAgainBeforeTheRunStops) {
	for (bool recovers : {true, false}) {
		Bench bench;
		bench.options.max_attempts = 3;
		bench.client.wants_token = true;
		bench.offer(1, 1);
		bench.end();
		ASSERT_TRUE(bench.play([&, n = 0](auto &) mutable { return answer(recovers && ++n > 2 ? 200 : 503); }));
		EXPECT_EQ(bench.failure(), recovers ? "" : "credentials");
		EXPECT_EQ(bench.sent(), recovers ? 4u : 3u);
	}
}

TEST(DeliveryStops, TokensThatExpireAtOnceDoNotMakeUsAskForEver) {
	Bench bench;
	bench.client.wants_token = bench.client.token_expires_at_once = true;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	EXPECT_EQ(bench.failure(), "credentials");
	EXPECT_EQ(bench.sent(), 3u);
}

TEST(DeliveryStops, TenRefusalsAtTheStartStopTheRunAndRejectNothing) {
	for (auto [status, code] : {std::pair(403, "forbidden"), std::pair(410, "gone")}) {
		Bench bench;
		bench.offer(1, 30);
		bench.end();
		ASSERT_TRUE(bench.play([&, status = status](auto &) { return answer(status); }));
		EXPECT_EQ(bench.failure(), code);
		expect_for_people(bench);
		EXPECT_EQ(bench.sent(), 10u);
		EXPECT_EQ(bench.count(Outcome::aborted), 30u);
	}
}

TEST(DeliveryStops, A410WithoutTheVerdictGoneIsGoneToo) {
	Bench bench;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(410, "rejected"); }));
	EXPECT_EQ(bench.failure(), "gone");
}

TEST(DeliveryStops, MixedRefusalsAreForbidden) {
	Bench bench;
	bench.offer(1, 30);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return answer(++n % 2 ? 410 : 403); }));
	EXPECT_EQ(bench.failure(), "forbidden");
	EXPECT_EQ(bench.count(Outcome::aborted), 30u);
}

TEST(DeliveryStops, FewerThanTenRefusalsAndNothingElseStopTheRunAtItsEnd) {
	Bench bench;
	bench.offer(1, 3);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(403); }));
	EXPECT_EQ(bench.failure(), "forbidden");
	EXPECT_EQ(bench.count(Outcome::aborted), 3u);
}

TEST(DeliveryStops, TheEndMayComeAfterTheLastAnswer) {
	Bench bench;
	bench.offer(1, 1);
	bench.step();
	bench.reply(0, answer(403));
	EXPECT_EQ(bench.outcome(1), "none") << "held back";
	EXPECT_FALSE(bench.delivery->finished());
	bench.end();
	bench.collect();
	EXPECT_TRUE(bench.delivery->finished());
	EXPECT_EQ(bench.outcome(1), "aborted forbidden");
}

TEST(DeliveryStops, HeldBackRefusalsAreRejectedOnceAnAnswerIsNoRefusal) {
	Bench bench;
	bench.offer(1, 20);
	bench.end();
	bench.step();
	for (std::size_t i = 0; i < 9; ++i)
		bench.reply(i, answer(i % 2 ? 403 : 410));
	EXPECT_TRUE(bench.outcomes.empty());
	bench.reply(9, answer(200));
	EXPECT_EQ(bench.outcomes.size(), 10u);
	EXPECT_EQ(bench.outcome(1), "rejected http_410");
	EXPECT_EQ(bench.outcome(2), "rejected http_403");
	ASSERT_TRUE(bench.play([](auto &) { return answer(403); })); // ten more: only the first ones are on trial
	EXPECT_EQ(bench.failure(), "");
	EXPECT_EQ(bench.count(Outcome::rejected), 19u);
}

TEST(DeliveryStops, AnotherRefusalThanThoseEndsTheTrialToo) {
	Bench bench;
	bench.offer(1, 2);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return answer(++n == 1 ? 403 : 422); }));
	EXPECT_EQ(bench.failure(), "");
	EXPECT_EQ(bench.outcome(1), "rejected http_403");
}

TEST(DeliveryStops, AnswersThatOnlySayLaterDecideNothingAboutTheTrial) {
	Bench bench;
	bench.offer(1, 30);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return answer(++n % 3 == 1 ? 503 : 403); }));
	EXPECT_EQ(bench.failure(), "forbidden");
	EXPECT_EQ(bench.count(Outcome::aborted), 30u);
}

TEST(DeliveryStops, RefusedBatchesAreOnTrialWhileTheyAreBisected) {
	Bench bench;
	bench.client.common.batch_records = 64;
	bench.offer(1, 64);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(403); }));
	EXPECT_EQ(bench.failure(), "forbidden");
	EXPECT_EQ(bench.sent(), 10u);
	EXPECT_EQ(bench.count(Outcome::aborted), 64u);
}

TEST(DeliveryStops, AnswersUnderWayWhenTheTrialFailsRejectNothing) {
	Bench bench;
	bench.client.common.concurrency = 12;
	bench.offer(1, 20);
	bench.end();
	bench.step();
	for (std::size_t i = 0; i < 10; ++i)
		bench.reply(i, answer(403));
	EXPECT_EQ(bench.failure(), "forbidden");
	EXPECT_FALSE(bench.delivery->finished());
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return answer(++n % 2 ? 403 : 200); }));
	EXPECT_EQ(bench.count(Outcome::rejected), 0u);
	EXPECT_GT(bench.count(Outcome::succeeded), 0u) << "what got through got through";
}

TEST(DeliveryStops, TlsFailureStopsTheRunAtOnce) {
	Bench bench;
	bench.offer(1, 3);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return broken(Transfer::tls); }));
	EXPECT_EQ(bench.failure(), "tls");
	expect_for_people(bench);
	EXPECT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.count(Outcome::aborted), 3u);
}

TEST(DeliveryStops, ABlockedAddressStopsTheRunAtOnce) {
	for (bool at_token : {false, true}) {
		Bench bench;
		bench.client.wants_token = at_token;
		bench.offer(1, 3);
		bench.end();
		ASSERT_TRUE(bench.play([](auto &) { return broken(Transfer::blocked); }));
		EXPECT_EQ(bench.failure(), "blocked_address");
		expect_for_people(bench);
		EXPECT_EQ(bench.sent(), 1u);
		EXPECT_EQ(bench.count(Outcome::aborted), 3u);
	}
}

TEST(DeliveryStops, WhenNothingGetsThroughTheFirstBatchThatGivesUpStopsTheRun) {
	for (auto transfer : {Transfer::unresolved, Transfer::refused, Transfer::unsent, Transfer::lost}) {
		Bench bench;
		bench.options.max_attempts = 3;
		bench.offer(1, 100);
		ASSERT_FALSE(bench.delivery->wants_more());
		bench.end();
		ASSERT_TRUE(bench.play([&](auto &) { return broken(transfer); }));
		EXPECT_EQ(bench.failure(), "unreachable");
		expect_for_people(bench);
		EXPECT_EQ(bench.count(Outcome::aborted), 100u);
		EXPECT_LE(bench.sent(), 3u * 100);
	}
}

TEST(DeliveryStops, WhenEveryAnswerIsLostTheRunFailsAndTheRecordsStayUnknown) {
	Bench bench;
	bench.client.idempotent = false;
	bench.offer(1, 3);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return broken(Transfer::lost); }));
	EXPECT_EQ(bench.failure(), "unreachable");
	EXPECT_EQ(bench.count(Outcome::unknown), 3u);
}

TEST(DeliveryStops, AWaitOverMaxWaitStopsTheRunAndSaysWhenToComeBack) {
	Bench bench;
	bench.options.max_wait = 10min;
	bench.offer(1, 3);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return ++n == 1 ? answer(200) : answer(429, "", 3600); }));
	EXPECT_EQ(bench.failure(), "throttled");
	expect_for_people(bench);
	EXPECT_EQ(bench.delivery->failure()->not_before, bench.wall + 1h);
	EXPECT_EQ(bench.gate.told, std::vector<Milliseconds> {1h});
	EXPECT_EQ(bench.count(Outcome::succeeded), 1u);
	EXPECT_EQ(bench.count(Outcome::aborted), 2u);
}

TEST(DeliveryStops, ShortWaitsWithoutEndStopTheRunToo) {
	Bench bench;
	bench.options.max_wait = 10min;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(429, "", 60); }));
	EXPECT_EQ(bench.failure(), "throttled");
	EXPECT_LE(bench.sent(), 12u);
}

TEST(DeliveryStops, ADestinationThatTakesARecordBetweenItsWaitsIsOnlySlow) {
	Bench bench;
	bench.options.max_wait = 10min;
	bench.offer(1, 30);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return ++n % 2 ? answer(429, "", 60) : answer(200); }));
	EXPECT_EQ(bench.failure(), "");
	EXPECT_EQ(bench.count(Outcome::succeeded), 30u);
}

TEST(DeliveryStops, AnAcceptedAnswerThatAsksForAnHourStopsOnlyARunThatHasMoreToSend) {
	for (std::size_t records : {1u, 2u}) {
		Bench bench;
		bench.offer(1, records);
		bench.end();
		ASSERT_TRUE(bench.play([](auto &) { return answer(200, "", 3600); }));
		EXPECT_EQ(bench.outcome(1), "succeeded");
		EXPECT_EQ(bench.failure(), records == 1 ? "" : "throttled");
		EXPECT_EQ(bench.sent(), 1u);
		if (records == 2) {
			EXPECT_EQ(bench.delivery->failure()->not_before, bench.wall + 1h);
			EXPECT_EQ(bench.outcome(2), "aborted throttled");
		}
	}
}

TEST(DeliveryStops, AWaitThatAnotherSyncWasToldCountsLikeOurOwn) {
	Bench bench;
	bench.offer(1, 1);
	bench.end();
	bench.gate.wait = 1h;
	bench.step();
	EXPECT_EQ(bench.failure(), "throttled");
	EXPECT_TRUE(bench.gate.told.empty());
	EXPECT_EQ(bench.outcome(1), "aborted throttled");
}

TEST(DeliveryStops, TheBreakerTripsOverTheShareOfTheLastHundred) {
	Bench bench;
	bench.options.max_rejected = 0.5;
	bench.offer(1, 1000);
	bench.end();
	// 100 good ones, then only bad ones: trips at the 51st.
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return answer(++n <= 100 ? 200 : 400); }));
	EXPECT_EQ(bench.failure(), "too_many_rejected");
	expect_for_people(bench);
	EXPECT_EQ(bench.sent(), 151u);
	EXPECT_EQ(bench.count(Outcome::rejected), 51u);
	EXPECT_EQ(bench.count(Outcome::aborted), 849u);
}

TEST(DeliveryStops, TheShareCountsOnlyOnceAHundredOutcomesAreThere) {
	for (std::size_t records : {99u, 101u}) {
		Bench bench;
		bench.offer(1, records);
		bench.end();
		ASSERT_TRUE(bench.play([](auto &) { return answer(400); }));
		EXPECT_EQ(bench.failure(), records < 100 ? "" : "too_many_rejected");
		EXPECT_EQ(bench.count(Outcome::rejected), std::min<std::size_t>(records, 100));
	}
}

TEST(DeliveryStops, ACountReplacesTheShare) {
	Bench bench;
	bench.options.max_rejected_count = 3;
	bench.offer(1, 200);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return answer(++n % 10 ? 200 : 400); }));
	EXPECT_EQ(bench.failure(), "too_many_rejected");
	EXPECT_EQ(bench.count(Outcome::rejected), 4u);
	EXPECT_EQ(bench.sent(), 40u);
}

TEST(DeliveryStops, RecordsThatCannotBeRenderedTripTheBreakerWithoutARequest) {
	Bench bench;
	for (int id = 1; id <= 150; ++id)
		bench.client.unrenderable.insert("k" + std::to_string(id));
	bench.offer(1, 150);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	EXPECT_EQ(bench.failure(), "too_many_rejected");
	EXPECT_EQ(bench.count(Outcome::rejected), 100u);
	EXPECT_EQ(bench.count(Outcome::aborted), 50u);
}

TEST(DeliveryStops, CancelAbortsWhatIsUnsentAndWaitsForWhatIsOnItsWay) {
	Bench bench;
	bench.client.common.concurrency = 4;
	bench.offer(1, 8);
	bench.step();
	bench.reply(0, answer(503)); // waits for a retry; k5 takes its place
	ASSERT_EQ(bench.sent(), 5u);
	bench.delivery->cancel();
	bench.collect();
	for (std::uint64_t id : {1, 6, 7, 8})
		EXPECT_EQ(bench.outcome(id), "aborted cancelled");
	EXPECT_FALSE(bench.delivery->wants_more());
	EXPECT_FALSE(bench.delivery->finished());
	bench.reply(1, answer(200));
	bench.reply(2, answer(400));
	bench.reply(3, answer(503));
	bench.reply(4, answer(409));
	EXPECT_TRUE(bench.delivery->finished());
	EXPECT_EQ(bench.sent(), 5u);
	EXPECT_EQ(bench.outcome(2), "succeeded");
	EXPECT_EQ(bench.outcome(3), "rejected http_400");
	EXPECT_EQ(bench.outcome(4), "aborted cancelled");
	EXPECT_EQ(bench.outcome(5), "aborted cancelled");
	EXPECT_EQ(bench.failure(), "");
}

TEST(DeliveryStops, CancelRejectsWhatWasSentAndHadNoAnswer) {
	Bench bench;
	bench.client.common.concurrency = 3;
	bench.offer(1, 3);
	bench.step();
	bench.reply(0, answer(200));
	bench.reply(1, broken(Transfer::lost)); // waits for a retry
	bench.delivery->cancel();
	bench.reply(2, broken(Transfer::lost));
	EXPECT_TRUE(bench.delivery->finished());
	EXPECT_EQ(bench.outcome(1), "succeeded");
	EXPECT_EQ(bench.outcome(2), "rejected connection_lost"); // keeps its idempotency key for the next run
	EXPECT_EQ(bench.outcome(3), "rejected connection_lost");
	EXPECT_EQ(bench.failure(), "");
}

TEST(DeliveryStops, CancelBeforeAnythingWasSent) {
	Bench bench;
	bench.offer(1, 2);
	bench.delivery->cancel();
	bench.offer(3, 1); // offered too late
	bench.collect();
	EXPECT_TRUE(bench.delivery->finished());
	EXPECT_EQ(bench.count(Outcome::aborted), 3u);
}

TEST(DeliveryStops, CancelAbortsWhatABisectionHasNotComeTo) {
	Bench bench;
	bench.client.common.batch_records = 8;
	bench.offer(1, 8);
	bench.end();
	bench.step();
	bench.reply(0, answer(400));
	bench.delivery->cancel();
	bench.reply(1, answer(200));
	EXPECT_TRUE(bench.delivery->finished());
	EXPECT_EQ(bench.count(Outcome::succeeded), 4u);
	EXPECT_EQ(bench.count(Outcome::aborted), 4u);
}

TEST(DeliveryStops, CancelWithRefusalsHeldBackAbortsThem) {
	Bench bench;
	bench.offer(1, 3);
	bench.step();
	bench.reply(0, answer(403));
	bench.delivery->cancel();
	bench.reply(1, answer(403));
	EXPECT_TRUE(bench.delivery->finished());
	EXPECT_EQ(bench.count(Outcome::aborted), 3u);
	EXPECT_EQ(bench.failure(), "") << "too little was seen to blame the destination";
}

TEST(DeliveryStops, CancelWhileATokenIsFetched) {
	Bench bench;
	bench.client.wants_token = true;
	bench.offer(1, 1);
	bench.end();
	bench.step();
	bench.delivery->cancel();
	EXPECT_FALSE(bench.delivery->finished());
	bench.reply(0, answer(200));
	EXPECT_TRUE(bench.delivery->finished());
	EXPECT_EQ(bench.outcome(1), "aborted cancelled");
}

TEST(DeliveryStops, TransfersCutOffByUsKeepTheirKeyWhereTheyMayBeRepeatedElseAreUnknown) {
	for (bool idempotent : {true, false}) {
		Bench bench;
		bench.client.idempotent = idempotent;
		bench.offer(1, 1);
		bench.end();
		bench.step();
		bench.delivery->cancel();
		bench.transport.cancel_all();
		bench.step();
		EXPECT_TRUE(bench.delivery->finished());
		EXPECT_EQ(bench.outcome(1), idempotent ? "rejected connection_lost" : "unknown cancelled");
	}
}
