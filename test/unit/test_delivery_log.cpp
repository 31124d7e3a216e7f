#include <gtest/gtest.h>

#include "delivery_fakes.hpp"

using namespace courier;
using namespace courier::fake;

// The exchanges that are kept for the log.

TEST(DeliveryLog, FailedExchangesAreKeptRedacted) {
	Bench bench;
	bench.client.common.batch_records = 2;
	bench.offer(1, 4);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable {
		auto its = ++n == 1 ? answer(200) : answer(200, "accepted rejected:s3cret");
		its.duration = 12ms;
		return its;
	}));
	ASSERT_EQ(bench.exchanges.size(), 1u);
	auto &its = bench.exchanges[0];
	EXPECT_EQ(its.operation, Operation::insert);
	EXPECT_EQ(its.records, 2u);
	EXPECT_EQ(its.attempt, 1);
	EXPECT_EQ(its.method, "insert");
	EXPECT_EQ(its.url, "https://api.example/things?key=[secret]");
	EXPECT_EQ(its.request_body, "f3\nf4\n");
	EXPECT_NE(its.request_headers.find(R"("Authorization": "Bearer [secret]")"), std::string::npos);
	EXPECT_EQ(its.response_body, "accepted rejected:[secret]");
	EXPECT_EQ(its.http_status, 200);
	EXPECT_EQ(its.duration, 12ms);
	EXPECT_TRUE(its.failed);
	EXPECT_EQ(its.keys, (std::vector<std::string> {"k3", "k4"}));
	EXPECT_EQ(bench.outcome(4), "rejected [secret]");
	EXPECT_EQ(bench.outcomes.at(4).message, "message of [secret]");
}

TEST(DeliveryLog, EveryAttemptIsAnExchange) {
	Bench bench;
	bench.options.log_all = true;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([n = 0](auto &) mutable { return ++n < 3 ? broken(Transfer::refused) : answer(200); }));
	ASSERT_EQ(bench.exchanges.size(), 3u);
	EXPECT_EQ(bench.exchanges[1].attempt, 2);
	EXPECT_EQ(bench.exchanges[1].error, "no connection could be made: words of the network about [secret]");
	EXPECT_FALSE(bench.exchanges[2].failed);
}

TEST(DeliveryLog, NothingIsKeptWhenNothingWasAskedFor) {
	Bench bench;
	bench.options.log_failed = false;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) { return answer(400); }));
	EXPECT_TRUE(bench.exchanges.empty());
}

TEST(DeliveryLog, TokensAreNeverLogged) {
	Bench bench;
	bench.options.log_all = true;
	bench.client.wants_token = true;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &request) {
		auto its = answer(200);
		if (request.method == "TOKEN")
			its.body = R"({"access_token": "fresh"})";
		return its;
	}));
	ASSERT_EQ(bench.exchanges.size(), 2u);
	EXPECT_EQ(bench.exchanges[0].records, 0u);
	EXPECT_EQ(bench.exchanges[0].request_body + bench.exchanges[0].response_body, "");
}

TEST(DeliveryLog, BodiesAreCutAtACharacterAndMadeValid) {
	Bench bench;
	bench.offer(1, 1);
	bench.end();
	ASSERT_TRUE(bench.play([](auto &) {
		auto its = answer(400, "rejected:");
		its.body += std::string(1, '\0') + "\xFF";
		while (its.body.size() < 100'000)
			its.body += "\xE2\x82\xAC"; // three bytes
		return its;
	}));
	ASSERT_EQ(bench.exchanges.size(), 1u);
	auto &body = bench.exchanges[0].response_body;
	EXPECT_LE(body.size(), 65536u);
	EXPECT_GE(body.size(), 65534u);
	EXPECT_EQ(body.substr(0, 15), "rejected:\xEF\xBF\xBD\xEF\xBF\xBD");
	EXPECT_EQ(body.substr(body.size() - 3), "\xE2\x82\xAC");
	EXPECT_LE(bench.outcomes.at(1).code.size(), 200u);
	EXPECT_LE(bench.outcomes.at(1).message.size(), 2000u);
}
