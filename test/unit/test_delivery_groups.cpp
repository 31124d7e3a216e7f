// Groups, unique values and budgets: which records share a request, and who waits for what.

#include <gtest/gtest.h>

#include "delivery_fakes.hpp"

using namespace courier;
using namespace courier::fake;

namespace {

// fields "C1 x" are of group and, where asked for, budget C1; "x" is what must be unique.
Record in(std::uint64_t id, const std::string &fields, Change change = Change::added) {
	auto its = Bench::record(id, change);
	its.fields = fields;
	return its;
}

std::string first_word(const std::string &text) {
	return text.substr(0, text.find(' '));
}

void group(Bench &bench, std::size_t batch = 10) {
	bench.client.common.batch_records = batch;
	bench.client.common.concurrency = 100;
	bench.client.common.grouped = true;
	bench.client.place = [](Operation, const Record &record) { return Placement {.group = first_word(record.fields)}; };
}

void by_channel(Bench &bench, std::optional<double> rate) {
	bench.client.common.concurrency = 100;
	bench.client.common.grouped = true;
	bench.client.place = [rate](Operation, const Record &record) {
		return Placement {.budget = {"=" + first_word(record.fields), rate, true}};
	};
}

Answer ok() {
	return {.status = 200};
}

Answer throttled(const char *seconds = nullptr) {
	Answer answer {.status = 429};
	if (seconds)
		answer.headers = {{"retry-after", seconds}};
	return answer;
}

} // namespace

TEST(DeliveryGroups, ARequestCarriesOneGroup) {
	Bench bench;
	group(bench, 2);
	bench.start();
	for (auto fields : {"a 1", "b 1", "a 2", "c 1", "b 2"})
		bench.delivery->offer(in(bench.transport.sent.size() + static_cast<std::uint64_t>(fields[0] * 10 + fields[2]), fields));
	bench.step();
	ASSERT_EQ(bench.sent(), 2u); // those that are full
	EXPECT_EQ(bench.request(0).body, "a 1\na 2\n");
	EXPECT_EQ(bench.request(1).body, "b 1\nb 2\n");
	bench.end();
	bench.step();
	EXPECT_EQ(bench.request(2).body, "c 1\n");
}

TEST(DeliveryGroups, SoManyOpenBatchesAndThenTheFullestGoes) {
	Bench bench;
	group(bench);
	bench.start();
	bench.delivery->offer(in(1, "first"));
	bench.delivery->offer(in(2, "g7 x"));
	bench.delivery->offer(in(3, "g7 y"));
	for (std::uint64_t i = 0; i < 62; ++i)
		bench.delivery->offer(in(10 + i, "h" + std::to_string(i)));
	bench.step();
	EXPECT_EQ(bench.sent(), 0u); // 64
	bench.delivery->offer(in(100, "one more"));
	bench.step();
	ASSERT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.request(0).body, "g7 x\ng7 y\n");
	bench.delivery->offer(in(101, "and another"));
	bench.step();
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.request(1).body, "first\n"); // all have one record: the oldest
	bench.end();
	EXPECT_TRUE(bench.play([](auto &) { return ok(); }));
	EXPECT_EQ(bench.count(Outcome::succeeded), 67u);
}

TEST(DeliveryGroups, RemovalsStillComeAfterAdditionsOfEveryGroup) {
	Bench bench;
	group(bench);
	bench.start();
	bench.delivery->offer(in(1, "a 1"));
	bench.delivery->offer(in(2, "b 1", Change::removed));
	bench.delivery->offer(in(3, "a 2", Change::removed));
	bench.end();
	bench.step();
	ASSERT_EQ(bench.sent(), 1u);
	EXPECT_EQ(bench.method(0), "insert");
	bench.reply(0, ok());
	ASSERT_EQ(bench.sent(), 3u);
	EXPECT_EQ(bench.method(1), "delete");
}

TEST(DeliveryGroups, ValuesThatMustBeUniqueAreNotSentTogether) {
	Bench bench;
	bench.client.common = {.batch_records = 3, .concurrency = 10, .grouped = true};
	bench.client.place = [](Operation, const Record &record) { return Placement {.unique = record.fields}; };
	bench.start();
	std::uint64_t id = 0;
	for (auto fields : {"x", "x", "y", "x", "z", ""})
		bench.delivery->offer(in(++id, fields));
	bench.end();
	bench.step();
	ASSERT_EQ(bench.sent(), 3u);
	EXPECT_EQ(bench.keys(0), "k1,k3,k5");
	EXPECT_EQ(bench.keys(1), "k2,k6"); // in the order they came; nothing is not a value
	EXPECT_EQ(bench.keys(2), "k4");
}

TEST(DeliveryBudgets, EachKeyHasARateOfItsOwn) {
	Bench bench;
	by_channel(bench, 1.0);
	bench.start();
	for (std::uint64_t i = 0; i < 3; ++i) {
		bench.delivery->offer(in(10 + i, "a " + std::to_string(i)));
		bench.delivery->offer(in(20 + i, "b " + std::to_string(i)));
	}
	bench.end();
	bench.step();
	ASSERT_EQ(bench.sent(), 2u); // one of each
	EXPECT_EQ(bench.request(0).body, "a 0\n");
	EXPECT_EQ(bench.request(1).body, "b 0\n");
	EXPECT_EQ(bench.delivery->next_step(), bench.now + 1s);
	bench.step_after(999ms);
	EXPECT_EQ(bench.sent(), 2u);
	bench.step_after(1ms);
	EXPECT_EQ(bench.sent(), 4u);
	EXPECT_TRUE(bench.play([](auto &) { return ok(); }));
	EXPECT_EQ(bench.count(Outcome::succeeded), 6u);
	EXPECT_EQ(bench.gate.granted, 6u); // and each counts against the destination too
}

TEST(DeliveryBudgets, AThrottledKeyHoldsUpNoOther) {
	Bench bench;
	by_channel(bench, std::nullopt);
	bench.client.common.concurrency = 1;
	bench.start();
	bench.delivery->offer(in(1, "a 1"));
	bench.delivery->offer(in(2, "a 2"));
	bench.delivery->offer(in(3, "b 1"));
	bench.delivery->offer(in(4, "b 2"));
	bench.end();
	bench.step();
	bench.reply(0, throttled("30"));
	EXPECT_EQ(bench.gate.told_of, (std::vector<std::string> {"=a"}));
	ASSERT_EQ(bench.sent(), 2u);
	EXPECT_EQ(bench.request(1).body, "b 1\n");
	bench.reply(1, ok());
	EXPECT_EQ(bench.request(2).body, "b 2\n");
	bench.reply(2, ok());
	EXPECT_EQ(bench.sent(), 3u);
	EXPECT_EQ(bench.delivery->next_step(), bench.now + 30s);
	bench.step_after(30s);
	EXPECT_EQ(bench.request(3).body, "a 1\n"); // the same attempt
	EXPECT_TRUE(bench.play([](auto &) { return ok(); }));
	EXPECT_EQ(bench.count(Outcome::succeeded), 4u);
}

TEST(DeliveryBudgets, WithoutAKeyThatWaitsAloneTheDestinationWaits) {
	Bench bench;
	bench.client.common.concurrency = 1;
	bench.client.common.grouped = true;
	bench.client.place = [](Operation, const Record &record) {
		return Placement {.budget = {first_word(record.fields), 100.0, false}};
	};
	bench.start();
	bench.delivery->offer(in(1, "a 1"));
	bench.delivery->offer(in(2, "b 1"));
	bench.end();
	bench.step();
	bench.reply(0, throttled("30"));
	EXPECT_EQ(bench.gate.told_of, (std::vector<std::string> {""}));
	EXPECT_EQ(bench.sent(), 1u);
}

TEST(DeliveryBudgets, ThrottledWithoutATimeBacksOffPerKey) {
	Bench bench;
	by_channel(bench, std::nullopt);
	bench.start();
	bench.delivery->offer(in(1, "a 1"));
	bench.end();
	bench.step();
	bench.reply(0, throttled());
	EXPECT_EQ(bench.delivery->next_step(), bench.now + 1s);
	bench.step_after(1s);
	bench.reply(1, throttled());
	EXPECT_GT(*bench.delivery->next_step(), bench.now + 1s);
}

TEST(DeliveryBudgets, WhenOnlyKeysAreLeftThatWaitTooLongTheRunStops) {
	Bench bench;
	by_channel(bench, std::nullopt);
	bench.client.common.concurrency = 1;
	bench.options.max_wait = 60s;
	bench.start();
	bench.delivery->offer(in(1, "a 1"));
	bench.step();
	bench.end();
	bench.reply(0, throttled("3600"));
	EXPECT_EQ(bench.failure(), "throttled");
	EXPECT_EQ(bench.outcome(1), "aborted throttled");

	Bench other; // others first
	by_channel(other, std::nullopt);
	other.client.common.concurrency = 1;
	other.options.max_wait = 60s;
	other.start();
	other.delivery->offer(in(1, "a 1"));
	other.delivery->offer(in(2, "b 1"));
	other.step();
	other.reply(0, throttled("3600"));
	EXPECT_EQ(other.failure(), "");
	other.delivery->offer(in(3, "c 1"));
	other.end();
	other.step();
	other.reply(1, ok());
	other.reply(2, ok());
	EXPECT_EQ(other.failure(), "throttled");
	EXPECT_EQ(other.count(Outcome::succeeded), 2u);
}

TEST(DeliveryBudgets, HalvesAndRetriesStayInTheirBudget) {
	Bench bench;
	bench.client.common = {.batch_records = 4, .concurrency = 10, .grouped = true};
	bench.client.place = [](Operation, const Record &record) {
		return Placement {.budget = {"=" + first_word(record.fields), 1.0, true}};
	};
	bench.start();
	for (std::uint64_t i = 1; i <= 4; ++i)
		bench.delivery->offer(in(i, "a " + std::to_string(i)));
	bench.end();
	bench.step();
	bench.reply(0, {.status = 413});
	EXPECT_EQ(bench.sent(), 1u); // the halves are of the same budget
	bench.step_after(1s);
	EXPECT_EQ(bench.sent(), 2u);
	EXPECT_TRUE(bench.play([](auto &) { return ok(); }));
	EXPECT_EQ(bench.count(Outcome::succeeded), 4u);
}
