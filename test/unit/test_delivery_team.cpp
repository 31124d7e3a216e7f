#include <gtest/gtest.h>

#include "delivery_fakes.hpp"

using namespace courier;
using namespace courier::fake;

// One run, several workers: what a worker's Delivery is told about the others.

TEST(DeliveryTeam, RemovalsWaitUntilTheyAreAllowedThoughNothingElseIsLeft) {
	Bench bench;
	bench.options.hold_removals = true;
	bench.offer(1, 1);
	bench.offer(2, 1, Change::removed);
	bench.end();
	bench.step();
	ASSERT_EQ(bench.sent(), 1u);
	EXPECT_TRUE(bench.delivery->has_additions());
	bench.reply(0, answer(200));
	EXPECT_FALSE(bench.delivery->has_additions());
	EXPECT_EQ(bench.sent(), 1u);
	EXPECT_FALSE(bench.delivery->next_step());
	EXPECT_FALSE(bench.delivery->finished());
	bench.delivery->allow_removals();
	EXPECT_TRUE(bench.delivery->next_step());
	ASSERT_TRUE(bench.play([](auto &) { return answer(200); }));
	EXPECT_EQ(bench.count(Outcome::succeeded), 2u);
}

TEST(DeliveryTeam, AShareThatShrinksIsReachedByWaiting) {
	Bench bench;
	bench.options.concurrency = 4;
	bench.options.batch_size = 1;
	bench.offer(1, 10);
	bench.end();
	bench.step();
	EXPECT_EQ(bench.delivery->under_way(), 4u);
	bench.delivery->set_concurrency(2);
	bench.reply(0, answer(200));
	bench.reply(1, answer(200));
	EXPECT_EQ(bench.delivery->under_way(), 2u);
	bench.reply(2, answer(200));
	EXPECT_EQ(bench.delivery->under_way(), 2u);
	bench.delivery->set_concurrency(5);
	bench.step();
	EXPECT_EQ(bench.delivery->under_way(), 5u);
}

TEST(DeliveryTeam, TheReasonOfAnotherEndsThisOneTooAndWhatIsUnderWayIsWaitedFor) {
	Bench bench;
	bench.options.concurrency = 1;
	bench.options.batch_size = 1;
	bench.offer(1, 3);
	bench.step();
	bench.delivery->stop({"credentials", "refused elsewhere", "hint", std::nullopt});
	bench.step();
	EXPECT_FALSE(bench.delivery->finished());
	bench.reply(0, answer(200));
	EXPECT_TRUE(bench.delivery->finished());
	EXPECT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.outcome(1), "succeeded");
	EXPECT_EQ(bench.outcome(2), "aborted credentials");
	EXPECT_EQ(bench.outcome(3), "aborted credentials");
}

TEST(DeliveryTeam, OneThatBeginsLateDoesNotTakeRefusedRecordsForARefusedRun) {
	for (bool proven : {true, false}) {
		Bench bench;
		bench.options.proven = proven;
		bench.options.batch_size = 1;
		bench.offer(1, 2);
		bench.end();
		ASSERT_TRUE(bench.play([](auto &) { return answer(403); }));
		EXPECT_EQ(bench.failure(), proven ? "" : "forbidden");
		EXPECT_EQ(bench.count(proven ? Outcome::rejected : Outcome::aborted), 2u);
		EXPECT_EQ(bench.delivery->proven(), proven);
	}
}

TEST(DeliveryTeam, ACountOfRejectedRecordsIsThatOfAll) {
	Bench bench;
	bench.options.max_rejected_count = 3;
	bench.options.batch_size = 1;
	bench.options.concurrency = 1;
	bench.options.proven = true;
	bench.offer(1, 5);
	bench.step();
	bench.reply(0, answer(400));
	bench.delivery->rejected_elsewhere(2);
	EXPECT_EQ(bench.failure(), "");
	EXPECT_EQ(bench.delivery->rejected(), 1u);
	bench.reply(1, answer(400));
	EXPECT_EQ(bench.failure(), "too_many_rejected");
	EXPECT_NE(bench.delivery->failure()->message.find("4 records, more than 3"), std::string::npos);
}
