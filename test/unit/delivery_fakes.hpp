#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/delivery.hpp"

// A destination, a network and a clock for tests of Delivery. Nothing happens by itself: the test answers requests and
// moves the clock.

namespace courier::fake {

using namespace std::chrono_literals;
using Milliseconds = std::chrono::milliseconds;

class Transport : public courier::Transport {
public:
	struct Sent {
		std::uint64_t id = 0;
		Request request;
		bool open = true;
	};

	void start(std::uint64_t id, Request request) override { sent.push_back({id, std::move(request), true}); }
	std::vector<Finished> take_finished() override { return std::exchange(finished, {}); }
	std::size_t running() const override {
		std::size_t count = 0;
		for (auto &its : sent)
			count += its.open ? 1 : 0;
		return count;
	}
	void cancel_all() override {
		for (std::size_t i = 0; i < sent.size(); ++i)
			if (sent[i].open)
				finish(i, Answer {Transfer::cancelled});
	}
	void finish(std::size_t index, Answer answer) {
		sent.at(index).open = false;
		finished.push_back({sent[index].id, std::move(answer)});
	}

	std::vector<Sent> sent;
	std::vector<Finished> finished;
};

class Gate : public RateGate {
public:
	Milliseconds acquire(std::chrono::steady_clock::time_point now, const Budget &budget) override {
		if (!budget.key.empty()) { // one request in a while
			auto &free = free_at[budget.key];
			if (!budget.rate || free <= now) {
				free = now + Milliseconds(budget.rate ? static_cast<int>(1000 / *budget.rate) : 0);
				return 0ms;
			}
			return std::chrono::ceil<Milliseconds>(free - now);
		}
		if (wait > 0ms)
			return wait;
		++granted;
		return 0ms;
	}
	void throttled(Milliseconds how_long, const std::string &budget) override {
		told.push_back(how_long);
		told_of.push_back(budget);
	}

	Milliseconds wait {0};
	std::size_t granted = 0;
	std::vector<Milliseconds> told;
	std::vector<std::string> told_of;
	std::map<std::string, std::chrono::steady_clock::time_point> free_at;
};

// Requests: the method is the operation, the body joins the records' fields, header Keys joins their keys and header
// Idempotency-Key their idempotency keys. Answers: the body is a list of words, one for each record ("accepted",
// "rejected", ..., "bad" for an answer that does not fit), or one word for the request as a whole; "" goes by the
// status. A word may carry a code: "rejected:too_long".
class Client : public courier::Client {
public:
	Limits limits(Operation operation) const override {
		auto its = limits_of.find(operation);
		return its == limits_of.end() ? common : its->second;
	}
	bool has(Operation) const override { return true; }
	Placement placement(Operation operation, const Record &record) const override {
		return place ? place(operation, record) : Placement {};
	}

	std::optional<Request> authorize(std::chrono::system_clock::time_point) override {
		if (!wants_token)
			return std::nullopt;
		Request request;
		request.method = "TOKEN";
		request.url = "https://auth.example/token";
		request.body = "client_secret=s3cret";
		return request;
	}
	std::optional<std::string> authorized(const Answer &answer, std::chrono::system_clock::time_point) override {
		if (answer.status != 200)
			return "invalid_client for s3cret";
		if (!token_expires_at_once)
			wants_token = false;
		++tokens;
		return std::nullopt;
	}
	bool forget_token() override {
		++forgotten;
		if (!refreshable)
			return false;
		wants_token = true;
		return true;
	}

	Rendered render(Operation operation, std::span<const Record> batch, std::chrono::system_clock::time_point) override {
		Rendered rendered;
		rendered.request.method = to_text(operation);
		rendered.request.url = "https://api.example/things?key=s3cret";
		rendered.request.idempotent = idempotent;
		std::string keys, idempotency, changes;
		for (std::size_t i = 0; i < batch.size(); ++i) {
			auto &record = batch[i];
			if (unrenderable.contains(record.key)) {
				rendered.unrendered.push_back(i);
				rendered.why.push_back({.verdict = Verdict::rejected, .code = "bad_path_value", .message = "empty"});
				continue;
			}
			if (group_by_first_letter && !rendered.records.empty() &&
			    batch[rendered.records.front()].fields[0] != record.fields[0])
				continue;
			rendered.records.push_back(i);
			keys += (keys.empty() ? "" : ",") + record.key;
			(idempotency += idempotency.empty() ? "" : ",") += std::string_view(record.idempotency_key);
			changes += (changes.empty() ? "" : ",") + std::string(to_text(record.change));
			for (int copy = 0; copy < inflate; ++copy)
				rendered.request.body += record.fields + "\n";
		}
		rendered.request.headers = {{"Keys", keys}, {"Idempotency-Key", idempotency}, {"Changes", changes},
		                            {"Authorization", "Bearer s3cret"}};
		++renders;
		return rendered;
	}

	static RecordVerdict verdict_from(std::string word) {
		static const std::map<std::string, Verdict> names {
		    {"accepted", Verdict::accepted}, {"exists", Verdict::exists},       {"missing", Verdict::missing},
		    {"rejected", Verdict::rejected}, {"split", Verdict::split},         {"retry", Verdict::retry},
		    {"throttled", Verdict::throttled}, {"auth", Verdict::auth},         {"gone", Verdict::gone}};
		RecordVerdict verdict;
		if (auto colon = word.find(':'); colon != std::string::npos) {
			verdict.code = word.substr(colon + 1);
			verdict.message = "message of " + verdict.code;
			word.resize(colon);
		}
		if (word == "bad")
			verdict.bad_answer = true;
		else
			verdict.verdict = names.at(word);
		return verdict;
	}
	static RecordVerdict verdict_from(int status, Operation operation) {
		RecordVerdict verdict;
		verdict.message = status < 300 ? "" : "status " + std::to_string(status);
		verdict.verdict = status < 300                                             ? Verdict::accepted
		                  : status == 401                                          ? Verdict::auth
		                  : status == 404 && operation == Operation::del           ? Verdict::accepted
		                  : status == 404 && operation == Operation::update        ? Verdict::missing
		                  : status == 409 && operation == Operation::insert        ? Verdict::exists
		                  : status == 413                                          ? Verdict::split
		                  : status == 410                                          ? Verdict::gone
		                  : status == 429                                          ? Verdict::throttled
		                  : status == 408 || status == 425 || status >= 500        ? Verdict::retry
		                                                                           : Verdict::rejected;
		verdict.whole = true;
		return verdict;
	}
	std::vector<RecordVerdict> classify(Operation operation, const Rendered &rendered, std::span<const Record>,
	                                    const Answer &answer) const override {
		std::vector<RecordVerdict> verdicts;
		std::istringstream words(answer.body);
		for (std::string word; words >> word;)
			verdicts.push_back(verdict_from(word));
		if (verdicts.size() == 1 && rendered.records.size() > 1) {
			verdicts.front().whole = true;
			verdicts.resize(rendered.records.size(), verdicts.front());
		} else if (verdicts.empty()) {
			verdicts.assign(rendered.records.size(), verdict_from(answer.status, operation));
		}
		return verdicts;
	}
	std::optional<Milliseconds> wait(const Answer &answer, std::chrono::system_clock::time_point) const override {
		for (auto &header : answer.headers)
			if (header.name == "retry-after")
				return Milliseconds(std::stoll(header.value) * 1000);
		return std::nullopt;
	}
	Request test(std::chrono::system_clock::time_point) override { return {}; }
	std::string redact(std::string text) const override {
		for (std::size_t at; (at = text.find("s3cret")) != std::string::npos;)
			text.replace(at, 6, "[secret]");
		return text;
	}

	Limits common {.batch_records = 1, .batch_bytes = 1 << 20, .concurrency = 1, .atomic = false};
	std::map<Operation, Limits> limits_of;
	std::function<Placement(Operation, const Record &)> place; // with limits.grouped
	bool idempotent = true, wants_token = false, refreshable = false, token_expires_at_once = false;
	bool group_by_first_letter = false;
	int inflate = 1, tokens = 0, forgotten = 0, renders = 0;
	std::set<std::string> unrenderable;
};

inline Answer answer(int status, std::string body = {}, std::optional<int> retry_after = std::nullopt) {
	Answer its;
	its.status = status;
	its.body = std::move(body);
	if (retry_after)
		its.headers.push_back({"retry-after", std::to_string(*retry_after)});
	return its;
}

inline Answer broken(Transfer transfer) {
	Answer its;
	its.transfer = transfer;
	its.error = "words of the network about s3cret";
	return its;
}

// A test sets options, operations and client, calls start() (offer() does), and plays.
class Bench {
public:
	DeliveryOptions options;
	OperationMap operations {Operation::insert, Operation::update, Operation::del};
	Client client;
	Transport transport;
	Gate gate;
	double uniform = 0.999;
	std::chrono::steady_clock::time_point now {1000s};
	std::chrono::system_clock::time_point wall {1'700'000'000s};
	std::unique_ptr<Delivery> delivery;
	std::map<std::uint64_t, Settled> outcomes;
	std::vector<Exchange> exchanges;
	bool settled_twice = false;

	Delivery &start() {
		if (!delivery)
			delivery = std::make_unique<Delivery>(options, operations, client, transport, gate, [this] { return uniform; });
		return *delivery;
	}
	static Record record(std::uint64_t id, Change change = Change::added) {
		Record its;
		its.id = id;
		its.change = change;
		its.key = "k" + std::to_string(id);
		its.fields = "f" + std::to_string(id);
		its.idempotency_key = "i" + std::to_string(id);
		return its;
	}
	// Records with ids from, from + 1, ...
	void offer(std::uint64_t from, std::size_t count, Change change = Change::added, bool known_bad = false) {
		start();
		for (std::size_t i = 0; i < count; ++i) {
			auto its = record(from + i, change);
			its.known_bad = known_bad;
			delivery->offer(std::move(its));
		}
	}
	void end() { start().end(); }
	void step() {
		start().step(now, wall);
		collect();
	}
	void step_after(Milliseconds time) {
		now += time;
		wall += time;
		step();
	}
	void collect() {
		for (auto &its : delivery->take_settled()) {
			const auto id = its.record.id;
			settled_twice = !outcomes.emplace(id, std::move(its)).second || settled_twice;
		}
		for (auto &its : delivery->take_exchanges())
			exchanges.push_back(std::move(its));
	}

	std::size_t sent() const { return transport.sent.size(); }
	const Request &request(std::size_t index) const { return transport.sent.at(index).request; }
	std::string header(std::size_t index, const std::string &name) const {
		for (auto &its : request(index).headers)
			if (its.name == name)
				return its.value;
		return {};
	}
	std::string keys(std::size_t index) const { return header(index, "Keys"); }
	std::string method(std::size_t index) const { return request(index).method; }
	// Answers one request and lets Delivery go on.
	void reply(std::size_t index, Answer with) {
		transport.finish(index, std::move(with));
		step();
	}
	// Plays to the end: answers every request in order, moves the clock when there is nothing else to do. False when
	// Delivery is stuck.
	bool play(const std::function<Answer(const Request &)> &server, std::size_t most = 100000) {
		step();
		for (std::size_t turn = 0; !delivery->finished(); ++turn) {
			if (turn == most)
				return false;
			std::size_t open = 0;
			while (open < sent() && !transport.sent[open].open)
				++open;
			if (open < sent()) {
				reply(open, server(request(open)));
				continue;
			}
			const auto next = delivery->next_step();
			if (!next)
				return false;
			if (*next > now)
				step_after(std::chrono::ceil<Milliseconds>(*next - now));
			else
				step();
		}
		collect();
		return true;
	}
	std::size_t count(Outcome outcome) const {
		std::size_t its = 0;
		for (auto &[id, settled] : outcomes)
			its += settled.outcome == outcome ? 1 : 0;
		return its;
	}
	std::string failure() const { return delivery->failure() ? delivery->failure()->code : ""; }
	// "rejected http_400"
	std::string outcome(std::uint64_t id) const {
		auto its = outcomes.find(id);
		if (its == outcomes.end())
			return "none";
		return std::string(to_text(its->second.outcome)) + (its->second.code.empty() ? "" : " " + its->second.code);
	}
};

inline std::vector<std::string> split_keys(const Request &request) {
	std::vector<std::string> keys;
	for (auto &header : request.headers)
		if (header.name == "Keys") {
			std::istringstream list(header.value);
			for (std::string key; std::getline(list, key, ',');)
				keys.push_back(key);
		}
	return keys;
}

} // namespace courier::fake
