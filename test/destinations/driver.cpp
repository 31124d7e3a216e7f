// courier_destination: what a destination sends and what it makes of the answers, without a server.
//
// Reads a JSON array of plays from standard input and prints an array of what happened (run.py compares it). A play is a
// sync and its changes:
//
//   {"type", "config", "secrets", "sync": {object, mode, sync_type, mapping, match_on, on_removed, config, options},
//    "changes": [{"added": {fields...}} or {"changed": ...} or {"removed": ...}, with "previous", "remote_id"],
//    "test": true, in place of sync and changes: what courier.test_destination asks,
//    "answers": [{"to": "POST /path", "status", "headers", "body" or "base64"}]}
//
// Where the sync's config has a digest, the changes become the one record that a run makes of them.
//
// The whole path of a run takes part but for PostgreSQL: the checks of create_destination and create_sync, the client,
// and Delivery with its batches, retries, waits and stops. The network is the list of answers, one for each request in
// their order, and the clock moves only when there is nothing to do but wait. Without "answers" every request that can be
// sent at once is sent, and none is answered.

#include <set>
#include <exception>
#include <iostream>

#include "core/delivery.hpp"
#include "core/error.hpp"
#include "core/options.hpp"
#include "destinations/message.hpp"
#include "destinations/operations.hpp"
#include "destinations/registry.hpp"
#include "destinations/validate.hpp"
#include "http/sign.hpp"

namespace {

using namespace courier;
using namespace std::chrono_literals;
using Json = nlohmann::ordered_json;

constexpr std::chrono::system_clock::time_point start_of_play {1'750'000'000s}; // 2025-06-15 15:06:40 UTC

Json member(const Json &object, const char *key, Json otherwise) {
	auto found = object.find(key);
	return found == object.end() || found->is_null() ? otherwise : *found;
}

std::vector<std::string> names(const Json &object) {
	std::vector<std::string> out;
	for (auto &[name, value] : object.items())
		out.push_back(name);
	return out;
}

struct Sent {
	std::uint64_t id = 0;
	Request request;
	double seconds = 0; // since the beginning
};

class ScriptedTransport : public Transport {
public:
	void start(std::uint64_t id, Request request) override {
		sent.push_back({id, std::move(request), std::chrono::duration<double>(now - start_of_play).count()});
		++open;
	}
	std::vector<Finished> take_finished() override { return std::exchange(finished, {}); }
	std::size_t running() const override { return open; }
	void cancel_all() override {
		for (std::size_t i = answered; i < sent.size(); ++i)
			answer(Answer {Transfer::cancelled});
	}
	// The oldest request that has none.
	void answer(Answer with) {
		finished.push_back({sent.at(answered++).id, std::move(with)});
		--open;
	}

	std::vector<Sent> sent;
	std::size_t answered = 0, open = 0;
	std::chrono::system_clock::time_point now = start_of_play;

private:
	std::vector<Finished> finished;
};

class OpenGate : public RateGate {
public:
	std::chrono::milliseconds acquire(std::chrono::steady_clock::time_point, const Budget &) override { return 0ms; }
	void throttled(std::chrono::milliseconds, const std::string &) override {}
};

// What a conversation would have on disk. A play ends before anybody else reads it.
class MemoryJobs : public JobStore {
public:
	std::int64_t open(Operation, std::span<const Record>, const std::string &) override { return ++opened; }
	void update(std::int64_t, const std::string &) override {}
	void close(std::int64_t) override {}
	void abandon(std::int64_t) override {}

private:
	std::int64_t opened = 0;
};

std::string path_of(const std::string &url) {
	std::size_t slash = url.find('/', url.find("://") + 3);
	return slash == std::string::npos ? "/" : url.substr(slash, url.find('?') - slash);
}

Answer answer_of(const Json &json) {
	Answer answer;
	answer.status = json.value("status", 200);
	const Json headers = member(json, "headers", Json::object());
	for (auto &[name, value] : headers.items()) {
		std::string lower = name;
		for (char &c : lower)
			c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
		answer.headers.push_back({lower, value.get<std::string>()});
	}
	const Json body = member(json, "body", "");
	answer.body = body.is_string() ? body.get<std::string>() : body.dump();
	if (json.contains("base64"))
		answer.body = http::base64_decode(json["base64"].get<std::string>()).value();
	if (json.value("lost", false))
		answer = Answer {Transfer::lost};
	answer.duration = 100ms;
	return answer;
}

// As a run makes them: a removal knows its match fields alone.
std::vector<Record> records_of(const Json &changes, const std::vector<std::string> &match) {
	std::vector<Record> records;
	for (auto &change : changes) {
		Record record;
		Json fields;
		for (auto kind : {Change::added, Change::changed, Change::removed})
			if (auto found = change.find(to_text(kind)); found != change.end()) {
				record.change = kind;
				fields = *found;
			}
		record.id = records.size() + 1;
		record.key = std::to_string(record.id);
		record.key_json = member(change, "key", {{"id", record.id}}).dump();
		record.idempotency_key = "00000000-0000-4000-8000-" + std::string(12 - record.key.size(), '0') + record.key;
		if (record.change == Change::removed) {
			Json kept = Json::object();
			for (auto &name : match)
				kept[name] = member(fields, name.c_str(), nullptr);
			fields = kept;
		}
		record.fields = fields.dump();
		if (change.contains("previous"))
			record.previous = change["previous"].dump();
		record.remote_id = change.value("remote_id", "");
		records.push_back(std::move(record));
	}
	return records;
}

// As a run makes it: all that was changed is told by one message, and so many records of each kind are shown.
Record digest_of(const std::vector<Record> &records, std::size_t shown) {
	DigestContent content;
	for (auto &record : records) {
		const int kind = record.change == Change::added ? 0 : record.change == Change::changed ? 1 : 2;
		if (static_cast<std::size_t>(content.counts[kind]++) >= shown)
			continue;
		Json sample = {{"change", to_text(record.change)},
		               {"key", Json::parse(record.key_json)},
		               {"previous", record.previous.empty() ? Json() : Json::parse(record.previous)},
		               {"record", Json::parse(record.fields)}};
		content.samples[kind].push_back(sample.dump());
	}
	Record record;
	record.id = 1;
	record.key = "digest";
	record.key_json = "{}";
	record.fields = digest_fields(content);
	record.idempotency_key = "00000000-0000-4000-8000-000000000000";
	return record;
}

Json describe(const Sent &sent) {
	auto &request = sent.request;
	Json headers = Json::array();
	for (auto &header : request.headers)
		headers.push_back({header.name, header.value});
	return {{"method", request.method},
	        {"url", request.url},
	        {"headers", headers},
	        {"body", request.body},
	        {"idempotent", request.idempotent},
	        {"seconds", sent.seconds}};
}

class Play {
public:
	explicit Play(const Json &play) : play_(play) {
		Json sync = member(play, "sync", Json::object());
		Json config = member(play, "config", Json::object()), secrets = member(play, "secrets", Json::object());
		std::string type = play.at("type");
		check_destination("destination", type, nullptr, config, names(secrets));
		mapped_ = names(member(sync, "mapping", Json::object()));
		match_ = member(sync, "match_on", mapped_.empty() ? Json::array() : Json::array({mapped_[0]}))
		             .get<std::vector<std::string>>();
		Json settings = check_sync({{"name", "sync"},
		                            {"type", type},
		                            {"destination", "destination"},
		                            {"destination_config", config},
		                            {"mode", member(sync, "mode", nullptr)},
		                            {"sync_type", member(sync, "sync_type", nullptr)},
		                            {"object", member(sync, "object", nullptr)},
		                            {"on_removed", member(sync, "on_removed", nullptr)},
		                            {"config", member(sync, "config", Json::object())},
		                            {"options", member(sync, "options", Json::object())},
		                            {"fields", mapped_},
		                            {"primary_key", {"id"}},
		                            {"match_on", match_}});
		nlohmann::json definition(definition_or_builtin(type, nullptr));
		options_ = parse_options(merged_options(definition, nlohmann::json(member(sync, "options", Json::object()))));
		ClientSettings client;
		client.type = type;
		client.destination = "destination";
		client.config = nlohmann::json(config);
		client.secrets = secrets.get<std::map<std::string, std::string>>();
		client.sync = "sync";
		client.mode = settings.value("mode", "");
		client.sync_type = settings.value("sync_type", "");
		client.object = member(settings, "object", "").get<std::string>();
		client.sync_config = nlohmann::json(member(sync, "config", Json::object()));
		Json own(client.sync_config);
		messages_ = read_messages(Reader(own, "config of the sync"));
		client.match_fields = match_;
		client.batch_size = options_.batch_size;
		client.run_id = "1";
		client_ = make_client(client);
		operations_ = operations(client.mode, client.sync_type, settings.value("on_removed", ""), *client_);
		update_only_ = client.mode == "update";
	}

	Json perform() {
		auto records = records_of(member(play_, "changes", Json::array()), match_);
		client_->expect(records.size());
		if (messages_.digest())
			records = {digest_of(records, messages_.digest_records)};
		std::set<std::string> told; // by which operations
		for (auto &record : records) {
			auto wanted = record.change == Change::added     ? operations_.added
			              : record.change == Change::changed ? operations_.changed
			                                                 : operations_.removed;
			if (auto operation = wanted ? client_->serves(*wanted, record.change) : std::nullopt)
				told.emplace(to_text(*operation));
		}
		// What is never answered would hold back the removals that come after it.
		const bool answered = play_.contains("answers");
		for (Change change : {Change::added, Change::changed, Change::removed}) {
			std::vector<Record> part;
			for (auto &record : records)
				if (answered || record.change == change)
					part.push_back(record);
			if (!part.empty())
				deliver(std::move(part), answered ? member(play_, "answers", Json::array()) : Json());
			if (answered)
				break;
		}
		return {{"requests", requests_}, {"outcomes", outcomes_}, {"failure", failure_}, {"unasked", unasked_}, {"operations", told}};
	}

private:
	void deliver(std::vector<Record> records, const Json &answers) {
		DeliveryOptions options;
		options.batch_size = options_.batch_size;
		options.concurrency = answers.is_null() ? 1000 : 1; // one at a time, so that answers meet their requests
		options.timeout = options_.timeout;
		options.max_attempts = options_.max_attempts;
		options.max_wait = options_.max_wait;
		options.update_only = update_only_;
		options.max_job_time = options_.max_job_time;
		ScriptedTransport transport;
		OpenGate gate;
		MemoryJobs jobs;
		Delivery delivery(options, operations_, *client_, transport, gate, [] { return 0.0; });
		delivery.keep_jobs(jobs);
		std::chrono::steady_clock::time_point now {1000s};
		std::size_t offered = 0, used = 0;
		for (int turn = 0; !delivery.finished(); ++turn) {
			if (turn == 100000)
				throw std::runtime_error("it does not come to an end");
			while (offered < records.size() && delivery.wants_more())
				delivery.offer(records[offered++]);
			if (offered == records.size())
				delivery.end();
			delivery.step(now, transport.now);
			if (transport.open > 0) {
				if (answers.is_null()) {
					auto before = transport.sent.size();
					delivery.step(now, transport.now);
					if (transport.sent.size() == before)
						break;
					continue;
				}
				auto &request = transport.sent[transport.answered].request;
				std::string line = request.method + " " + path_of(request.url);
				if (used == answers.size())
					throw std::runtime_error("there is no answer for request " + std::to_string(used + 1) + ", " + line +
					                         ": " + request.body);
				auto &answer = answers[used++];
				if (answer.contains("to") && answer["to"] != line)
					throw std::runtime_error("request " + std::to_string(used) + " is " + line + ", and the answer is to " +
					                         answer["to"].get<std::string>());
				transport.answer(answer_of(answer));
			} else if (auto next = delivery.next_step(); next && *next > now) {
				transport.now += std::chrono::ceil<std::chrono::milliseconds>(*next - now);
				now += std::chrono::ceil<std::chrono::milliseconds>(*next - now);
			}
		}
		for (auto &sent : transport.sent)
			requests_.push_back(describe(sent));
		for (auto &settled : delivery.take_settled())
			outcomes_[settled.record.key] = {{"outcome", to_text(settled.outcome)},
			                                 {"http_status", settled.http_status},
			                                 {"code", settled.code},
			                                 {"message", settled.message},
			                                 {"remote_id", settled.remote_id}};
		if (auto &failure = delivery.failure())
			failure_ = {{"code", failure->code}, {"message", failure->message}};
		unasked_ = answers.is_null() ? 0 : answers.size() - used;
	}

	const Json &play_;
	std::vector<std::string> mapped_, match_;
	SyncOptions options_;
	MessageSpec messages_;
	std::unique_ptr<Client> client_;
	OperationMap operations_;
	bool update_only_ = false;
	Json requests_ = Json::array(), outcomes_ = Json::object(), failure_;
	std::size_t unasked_ = 0;
};

// What courier.test_destination asks; as src/pg does it, without the network.
Json test_of(const Json &play) {
	ClientSettings settings;
	settings.type = play.at("type");
	settings.destination = "destination";
	settings.config = nlohmann::json(member(play, "config", Json::object()));
	settings.secrets = member(play, "secrets", Json::object()).get<std::map<std::string, std::string>>();
	Json config(settings.config), secrets(settings.secrets), requests = Json::array();
	check_destination("destination", settings.type, nullptr, config, names(secrets));
	const auto client = make_client(settings);
	const Json answers = member(play, "answers", Json::array());
	const auto exchange = [&](const Request &request) {
		requests.push_back(describe({0, request, 0}));
		return answers.size() < requests.size() ? Answer {Transfer::lost} : answer_of(answers[requests.size() - 1]);
	};
	if (auto request = client->authorize(start_of_play))
		if (auto problem = client->authorized(exchange(*request), start_of_play))
			throw std::runtime_error("no token: " + *problem);
	std::optional<Request> request = client->test(start_of_play);
	Json says;
	while (request) {
		const auto answer = exchange(*request);
		const auto tested = answer.transfer == Transfer::complete ? client->tested(answer, start_of_play) : std::nullopt;
		if (tested)
			says = tested->problem.value_or(tested->words);
		request = tested && !tested->problem ? tested->next : std::nullopt;
	}
	return {{"requests", requests}, {"outcomes", Json::object()}, {"failure", nullptr}, {"unasked", 0}, {"says", says}};
}

Json perform(const Json &play) {
	try {
		return play.contains("test") ? test_of(play) : Play(play).perform();
	} catch (const Error &error) {
		return {{"error", error.message}, {"sqlstate", error.sqlstate}, {"detail", error.detail}, {"hint", error.hint}};
	} catch (const std::exception &error) {
		return {{"error", error.what()}};
	}
}

} // namespace

int main() {
	Json out = Json::array();
	for (auto &play : Json::parse(std::cin))
		out.push_back(perform(play));
	std::cout << out.dump() << "\n";
}
