#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "delivery_fakes.hpp"

// Conversations as Delivery leads them: steps and their retries, polling, what is kept when, what a stop leaves behind.

using namespace courier;
using namespace std::chrono_literals;
using fake::answer;
using fake::broken;
using nlohmann::json;

namespace {

// make -> close -> poll ... -> done. An answer's body: "next", "working", or words as of the usual fake, one a record.
class JobClient : public fake::Client {
public:
	Limits limits(Operation) const override { return {10, 1 << 20, 4, false, most_jobs}; }
	Rendered render(Operation operation, std::span<const Record> batch,
	                std::chrono::system_clock::time_point now) override {
		auto rendered = fake::Client::render(operation, batch, now);
		rendered.state = R"({"step":"make"})";
		rendered.keep = keep_first;
		return rendered;
	}
	Request step(Operation, std::span<const Record>, const std::string &state,
	             std::chrono::system_clock::time_point) override {
		Request request;
		request.method = json::parse(state).at("step");
		request.idempotent = request.method != "make" || repeat;
		return request;
	}
	Move next(Operation operation, std::span<Record> batch, const std::string &state, const Answer &answer) override {
		Move move;
		const std::string step = json::parse(state).at("step");
		if (answer.status >= 300) {
			auto verdict = verdict_from(answer.status, operation);
			if (verdict.verdict == Verdict::rejected)
				move.verdicts = std::vector(batch.size(), verdict);
			else
				move.repeat = verdict;
			return move;
		}
		if (answer.body == "next" || answer.body == "working") {
			move.state = step == "make" ? R"({"step":"close"})" : R"({"step":"poll"})";
			move.keep = step == "make";
			move.handed_over = true;
			move.poll = step != "make";
			return move;
		}
		move.verdicts.emplace();
		std::istringstream words(answer.body);
		for (std::string word; words >> word;)
			move.verdicts->push_back(verdict_from(word));
		return move;
	}
	Move resume(Operation, std::span<Record> batch, const std::string &state) override {
		Move move;
		if (state.find("make") != std::string::npos)
			move.verdicts = std::vector<RecordVerdict>(batch.size(), {Verdict::retry});
		move.state = R"({"step":"poll"})";
		move.handed_over = true;
		return move;
	}
	bool repeatable(Operation) const override { return repeat; }

	std::size_t most_jobs = 2;
	bool keep_first = false, repeat = true;
};

class Jobs : public JobStore {
public:
	std::int64_t open(Operation, std::span<const Record> batch, const std::string &state) override {
		log.push_back("open " + std::to_string(batch.size()) + " " + json::parse(state).at("step").get<std::string>());
		return 7;
	}
	void update(std::int64_t, const std::string &state) override {
		log.push_back("update " + json::parse(state).at("step").get<std::string>());
	}
	void close(std::int64_t) override { log.push_back("close"); }
	void abandon(std::int64_t) override { log.push_back("abandon"); }
	std::vector<std::string> log;
};

class Conversations : public testing::Test {
protected:
	fake::Transport transport;
	fake::Gate gate;
	JobClient client;
	Jobs jobs;
	DeliveryOptions options;
	OperationMap operations {Operation::upsert, Operation::upsert, Operation::del};
	std::unique_ptr<Delivery> delivery;
	std::chrono::steady_clock::time_point now {1000s};
	std::vector<Settled> settled;

	void start(std::size_t records) {
		delivery = std::make_unique<Delivery>(options, operations, client, transport, gate, [] { return 0.999; });
		delivery->keep_jobs(jobs);
		for (std::size_t i = 1; i <= records; ++i)
			delivery->offer(fake::Bench::record(i));
		if (records > 0)
			delivery->end();
		step();
	}
	void step() {
		delivery->step(now, std::chrono::system_clock::time_point(now.time_since_epoch()));
		for (auto &its : delivery->take_settled())
			settled.push_back(std::move(its));
	}
	void reply(Answer with) {
		transport.finish(transport.sent.size() - 1, std::move(with));
		step();
	}
	// Moves the clock to when Delivery wants to be called; how long that was.
	std::chrono::milliseconds pass() {
		const auto next = delivery->next_step();
		if (!next)
			return -1ms;
		const auto waited = std::chrono::ceil<std::chrono::milliseconds>(*next - now);
		now += waited;
		step();
		return waited;
	}
	std::string last() const { return transport.sent.back().request.method; }
	std::string outcomes() const {
		std::string out;
		for (auto &its : settled)
			out += (out.empty() ? "" : ", ") + std::string(to_text(its.outcome)) +
			       (its.code.empty() ? "" : " " + its.code);
		return out;
	}
};

TEST_F(Conversations, StepsFollowAndVerdictsSettle) {
	start(3);
	EXPECT_EQ(last(), "make");
	reply(answer(200, "next"));
	EXPECT_EQ(last(), "close");
	EXPECT_EQ(jobs.log, std::vector<std::string> {"open 3 close"}) << "kept before the records are handed over";
	reply(answer(200, "next"));
	EXPECT_EQ(last(), "close") << "polls come later";
	EXPECT_EQ(pass(), 1s);
	EXPECT_EQ(last(), "poll");
	reply(answer(200, "accepted rejected:bad accepted"));
	EXPECT_EQ(outcomes(), "succeeded, rejected bad, succeeded");
	EXPECT_EQ(jobs.log.back(), "close");
	EXPECT_TRUE(delivery->finished());
}

TEST_F(Conversations, PollingSlowsDownAndIsBounded) {
	options.max_job_time = 10min;
	start(1);
	reply(answer(200, "next"));
	reply(answer(200, "next"));
	std::vector<std::chrono::milliseconds> waits;
	while (!delivery->finished() && waits.size() < 100) {
		waits.push_back(pass());
		reply(answer(200, "working"));
	}
	EXPECT_EQ(waits[0], 1s);
	EXPECT_EQ(waits[1], 1500ms);
	EXPECT_EQ(*std::max_element(waits.begin(), waits.end()), 30s);
	ASSERT_TRUE(delivery->failure());
	EXPECT_EQ(delivery->failure()->code, "job_open");
	EXPECT_EQ(outcomes(), "aborted job_open");
	EXPECT_EQ(now - std::chrono::steady_clock::time_point(1000s), 10min) << "the last poll is at the very end";
	EXPECT_EQ(jobs.log, std::vector<std::string> {"open 1 close"}) << "the job stays for the next run";
}

TEST_F(Conversations, OnlyTheStepIsRepeated) {
	start(1);
	reply(answer(200, "next"));
	reply(answer(503));
	EXPECT_GT(pass(), 0ms);
	EXPECT_EQ(last(), "close");
	reply(broken(Transfer::lost));
	pass();
	EXPECT_EQ(last(), "close");
	reply(answer(429, "", 5));
	EXPECT_EQ(pass(), 5s);
	EXPECT_EQ(last(), "close");
	reply(answer(200, "accepted"));
	EXPECT_EQ(outcomes(), "succeeded");
	EXPECT_EQ(transport.sent.front().request.method, "make");
	EXPECT_EQ(std::count_if(transport.sent.begin(), transport.sent.end(),
	                        [](auto &its) { return its.request.method == "make"; }),
	          1);
}

TEST_F(Conversations, AStepThatFailsForEverRejectsBeforeTheHandOverAndStopsTheRunAfterIt) {
	options.max_attempts = 2;
	start(1);
	reply(answer(500));
	pass();
	reply(answer(500));
	EXPECT_EQ(outcomes(), "rejected http_500");
	settled.clear();
	start(1);
	reply(answer(200, "next"));
	reply(answer(500));
	pass();
	reply(answer(500));
	EXPECT_EQ(outcomes(), "aborted job_open");
	EXPECT_EQ(delivery->failure()->code, "job_open");
}

TEST_F(Conversations, CancelLeavesTheJobAlone) {
	start(2);
	reply(answer(200, "next"));
	reply(answer(200, "next"));
	delivery->cancel();
	step();
	EXPECT_EQ(outcomes(), "aborted job_open, aborted job_open");
	EXPECT_TRUE(delivery->finished());
	EXPECT_EQ(jobs.log, std::vector<std::string> {"open 2 close"});
}

TEST_F(Conversations, NoMoreJobsThanAllowed) {
	start(45);
	EXPECT_EQ(transport.sent.size(), 2u);
	transport.finish(0, answer(200, "next"));
	step();
	EXPECT_EQ(transport.sent.size(), 3u) << "its close, and no third job";
	transport.finish(
	    2, answer(200, "accepted accepted accepted accepted accepted accepted accepted accepted accepted accepted"));
	step();
	EXPECT_EQ(transport.sent.size(), 4u);
	EXPECT_EQ(last(), "make");
}

TEST_F(Conversations, WhatMayNotBeRepeatedIsKeptFirstAndUnknownWhenItsAnswerIsLost) {
	client.keep_first = true;
	client.repeat = false;
	start(2);
	EXPECT_EQ(jobs.log, std::vector<std::string> {"open 2 make"});
	reply(broken(Transfer::lost));
	EXPECT_EQ(outcomes(), "unknown connection_lost, unknown connection_lost");
	EXPECT_EQ(jobs.log.back(), "close");
}

TEST_F(Conversations, AJobThatIsForgottenIsToldAgainOnlyWhereItMayBe) {
	start(1);
	reply(answer(200, "next"));
	reply(answer(200, "bad"));
	pass();
	EXPECT_EQ(last(), "make") << "another job";
	client.repeat = false;
	reply(answer(200, "next"));
	reply(answer(200, "bad"));
	EXPECT_EQ(outcomes(), "unknown bad_answer");
}

TEST_F(Conversations, AResumedJobIsAskedAndNothingIsBegun) {
	options.resuming = true;
	start(0);
	delivery->resume(Operation::upsert, {fake::Bench::record(1), fake::Bench::record(2), fake::Bench::record(3)}, 7,
	                 R"({"step":"close"})");
	delivery->resume(Operation::upsert, {fake::Bench::record(4)}, 8, R"({"step":"make"})");
	delivery->resume(Operation::upsert, {}, 9, R"({"step":"close"})");
	delivery->end();
	step();
	EXPECT_EQ(outcomes(), "aborted compared_again") << "the job that was not made";
	EXPECT_EQ(transport.sent.size(), 2u);
	EXPECT_FALSE(delivery->finished());
	transport.finish(0, answer(200, "accepted rejected retry"));
	step();
	EXPECT_FALSE(delivery->finished()) << "one without records is asked for too";
	transport.finish(1, answer(200, ""));
	step();
	EXPECT_EQ(outcomes(), "aborted compared_again, succeeded, rejected, aborted compared_again");
	EXPECT_EQ(std::count(jobs.log.begin(), jobs.log.end(), "close"), 3);
	EXPECT_TRUE(delivery->finished());
}

} // namespace
