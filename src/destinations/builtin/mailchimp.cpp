// What a sync of members chooses between (whether those that are there keep their status, how they are deleted), and
// Mailchimp's batches.
//
// A batch is handed over by one request and worked on by Mailchimp, one batch of an account at a time:
//
//   post -> poll ... -> fetch
//
// Its operations are the requests that would be sent without it, made by the same definition, and the results are read by
// the same rules: only the way there and back differs. What is fetched is an archive on another host, which gets no
// credentials. Its address is good for minutes, so it is asked for anew, with the batch, whenever fetching has failed,
// and it is never kept: the state on disk is the batch's id.
//
// A batch whose answer was lost, or whose process died before the id was kept, cannot be found again. It is told again where
// its operations may be repeated; the second batch is then worked on after the first. Direct requests of a small run may reach
// Mailchimp before the lost one is worked on; its page says so.

#include <algorithm>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "destinations/archive.hpp"
#include "destinations/builtin/builtin.hpp"
#include "destinations/declarative.hpp"
#include "http/url.hpp"

namespace courier::builtin {

namespace {

using Json = nlohmann::ordered_json;
using Time = std::chrono::system_clock::time_point;

constexpr std::size_t most_operations = 500;         // of 1,000, because every one has an answer in the archive
constexpr std::size_t most_requests_of_many = 10;    // of 500 members each
constexpr std::size_t most_bytes = 4 << 20;          // of the records of a batch
constexpr std::size_t most_unpacked = 64 << 20;      // of an archive
constexpr int most_fetches = 5;                      // with an address that was new each time
constexpr std::uint64_t batches_above_default = 500; // requests of a run

bool says(const nlohmann::json &config, const char *key, const nlohmann::json &value) {
	auto found = config.find(key);
	return found != config.end() && *found == value;
}

std::string text_at(std::string_view json, const std::string &name) {
	auto found = json_find(json, {name});
	return found ? json_plain(*found) : std::string();
}

class MailchimpClient final : public DeclarativeClient {
public:
	MailchimpClient(Definition definition, const ClientSettings &settings)
	    : DeclarativeClient(std::move(definition), settings), always_(says(settings.sync_config, "api", "batches")),
	      never_(says(settings.sync_config, "api", "requests")) {
		if (auto above = settings.sync_config.find("batches_above");
		    above != settings.sync_config.end() && above->is_number_unsigned())
			above_ = above->get<std::uint64_t>();
	}

	void expect(std::uint64_t changes) override { changes_ = changes; }
	Limits limits(Operation operation) const override;
	bool repeatable(Operation operation) const override { return may_repeat(operation); }
	Rendered render(Operation operation, std::span<const Record> batch, Time now) override;
	Request step(Operation operation, std::span<const Record> batch, const std::string &state, Time now) override;
	Move next(Operation operation, std::span<Record> batch, const std::string &state, const Answer &answer) override;
	Move resume(Operation operation, std::span<Record> batch, const std::string &state) override;

private:
	std::size_t records_of(Operation operation) const { return DeclarativeClient::limits(operation).batch_records; }
	bool batched(Operation operation) const;
	std::optional<RecordVerdict> trouble(std::span<const Record> batch, const Answer &answer) const;
	Move polled(Json state, const Answer &answer, std::size_t records);
	Move not_fetched(Json state, const std::string &why, std::size_t records) const;
	Move fetched(Operation operation, std::span<const Record> batch, const Json &state, const Answer &answer) const;
	void read_result(std::string_view entry, Operation operation, std::span<const Record> batch,
	                 std::vector<RecordVerdict> &verdicts) const;

	bool always_, never_;
	std::uint64_t above_ = batches_above_default, changes_ = 0;
};

RecordVerdict unreadable(std::string message) {
	RecordVerdict verdict {Verdict::rejected};
	verdict.bad_answer = true;
	verdict.message = std::move(message);
	return verdict;
}

Move ends(std::size_t records, const RecordVerdict &verdict) {
	Move move;
	move.verdicts.emplace(records, verdict);
	return move;
}

bool MailchimpClient::batched(Operation operation) const {
	return always_ || (!never_ && changes_ / records_of(operation) > above_);
}

Limits MailchimpClient::limits(Operation operation) const {
	auto limits = DeclarativeClient::limits(operation);
	if (!batched(operation))
		return limits;
	const auto records = limits.batch_records;
	limits.batch_records = records > 1 ? records * most_requests_of_many : most_operations;
	limits.batch_bytes = most_bytes;
	limits.conversations = 4; // of 500 that may be open, and they are worked on one by one
	return limits;
}

Rendered MailchimpClient::render(Operation operation, std::span<const Record> batch, Time now) {
	if (!batched(operation))
		return DeclarativeClient::render(operation, batch, now);
	Rendered out;
	const auto size = records_of(operation);
	for (std::size_t at = 0; at < batch.size(); at += size) {
		auto part = DeclarativeClient::render(operation, batch.subspan(at, std::min(size, batch.size() - at)), now);
		for (auto i : part.records)
			out.records.push_back(at + i);
		for (auto i : part.unrendered)
			out.unrendered.push_back(at + i);
		out.why.insert(out.why.end(), part.why.begin(), part.why.end());
	}
	if (out.records.empty())
		return out;
	std::vector<Record> sent;
	for (auto i : out.records)
		sent.push_back(batch[i]);
	out.state = R"({"step":"post"})";
	out.keep = !repeatable(operation);
	out.request = step(operation, sent, out.state, now);
	return out;
}

Request MailchimpClient::step(Operation operation, std::span<const Record> batch, const std::string &state, Time now) {
	const auto json = Json::parse(state);
	if (json.at("step") == "poll")
		return plain_request("GET", "/batches/" + http::percent_encode(json.at("batch").get<std::string>()), "", now);
	if (json.at("step") == "fetch") {
		Request out;
		out.method = "GET";
		out.url = json.at("url").get<std::string>();
		out.idempotent = true;
		return out;
	}
	std::string body = "{\"operations\":[";
	const auto size = records_of(operation);
	for (std::size_t at = 0; at < batch.size(); at += size) {
		const auto its = DeclarativeClient::render(operation, batch.subspan(at, std::min(size, batch.size() - at)), now);
		body += at > 0 ? "," : "";
		body += "{\"method\":" + json_string(its.request.method) + ",\"path\":" + json_string(path_of(its.request)) +
		        ",\"operation_id\":\"" + std::to_string(at / size) + "\"";
		if (!its.request.body.empty())
			body += ",\"body\":" + json_string(its.request.body);
		body += "}";
	}
	auto out = plain_request("POST", "/batches", body + "]}", now);
	out.idempotent = repeatable(operation);
	return out;
}

// By the definition's rules; those of an insertion, because to a removal 404 would be a success.
std::optional<RecordVerdict> MailchimpClient::trouble(std::span<const Record> batch, const Answer &answer) const {
	if (answer.status >= 200 && answer.status < 300)
		return std::nullopt;
	Rendered asked;
	asked.records = {0};
	auto verdict = classify(Operation::insert, asked, batch.first(1), answer).front();
	verdict.whole = true;
	if (verdict.verdict == Verdict::accepted || verdict.verdict == Verdict::exists ||
	    verdict.verdict == Verdict::missing || verdict.verdict == Verdict::gone)
		verdict.verdict = Verdict::rejected;
	return verdict;
}

Move MailchimpClient::next(Operation operation, std::span<Record> batch, const std::string &state,
                           const Answer &answer) {
	auto json = Json::parse(state);
	const bool posted = json.at("step") == "post";
	if (json.at("step") == "fetch")
		return fetched(operation, batch, json, answer);
	if (!posted && answer.status == 404)
		return ends(batch.size(), unreadable("Mailchimp does not know batch " + json.value("batch", "") + " any more"));
	if (auto verdict = trouble(batch, answer)) {
		const bool refused = verdict->verdict == Verdict::rejected || verdict->verdict == Verdict::split;
		if (posted && refused)
			return ends(batch.size(), *verdict);
		if (refused)
			verdict->verdict = Verdict::retry; // it says nothing about records
		Move move;
		move.repeat = *verdict;
		return move;
	}
	if (!posted)
		return polled(std::move(json), answer, batch.size());
	const auto id = text_at(answer.body, "id");
	if (id.empty())
		return ends(batch.size(), unreadable("the answer has no batch id"));
	Move move;
	move.state = Json {{"step", "poll"}, {"batch", id}}.dump();
	move.keep = move.handed_over = move.poll = true;
	return move;
}

Move MailchimpClient::polled(Json state, const Answer &answer, std::size_t records) {
	Move move;
	if (text_at(answer.body, "status") != "finished") { // pending, preprocessing, started, finalizing
		move.state = state.dump();
		move.poll = true;
		return move;
	}
	const auto url = text_at(answer.body, "response_body_url");
	try {
		http::check_url(url, "response_body_url");
	} catch (const Error &) {
		return not_fetched(std::move(state), "their response_body_url is no URL", records);
	}
	if (base_url().starts_with("https:") && !url.starts_with("https:"))
		return not_fetched(std::move(state), "their response_body_url is not https", records);
	hide(http::split_url(url).query); // whoever has it may read the results
	state["step"] = "fetch";
	state["url"] = url;
	move.state = state.dump();
	return move;
}

Move MailchimpClient::not_fetched(Json state, const std::string &why, std::size_t records) const {
	const int fetches = state.value("fetches", 0) + 1;
	if (fetches == most_fetches)
		return ends(records, unreadable("the results of batch " + state.value("batch", "") + " cannot be had: " + why));
	Move move;
	move.state = Json {{"step", "poll"}, {"batch", state.at("batch")}, {"fetches", fetches}}.dump();
	move.poll = true;
	return move;
}

Move MailchimpClient::fetched(Operation operation, std::span<const Record> batch, const Json &state,
                              const Answer &answer) const {
	const std::string id = state.value("batch", "");
	const int status = answer.status;
	if (status == 408 || status == 429 || status >= 500) {
		Move move;
		move.repeat = RecordVerdict {Verdict::retry}; // of another host, so it is not Mailchimp that throttles
		move.repeat->message = "the results of batch " + id + " cannot be had at the moment";
		return move;
	}
	if (status < 200 || status >= 300)
		return not_fetched(state, "HTTP status " + std::to_string(status), batch.size());
	// Where its Content-Encoding said gzip, it has been unpacked already.
	const bool packed = answer.body.starts_with("\x1f\x8b");
	const auto unpacked = packed ? gunzip(answer.body, most_unpacked) : std::nullopt;
	const auto files = packed && !unpacked ? std::nullopt : read_tar(packed ? *unpacked : answer.body);
	if (!files)
		return ends(batch.size(), unreadable("the results of batch " + id + " are no gzipped tar archive"));
	auto move = ends(batch.size(), unreadable("no result of batch " + id + " mentions this record"));
	for (auto &file : *files) {
		if (!json_valid(file.content))
			continue;
		if (json_kind(file.content) == JsonKind::object)
			read_result(file.content, operation, batch, *move.verdicts);
		for (auto entry : json_elements(file.content))
			read_result(entry, operation, batch, *move.verdicts);
	}
	return move;
}

// {"operation_id": "0", "status_code": 200, "response": "{...}"}: what the request alone would have been answered.
void MailchimpClient::read_result(std::string_view entry, Operation operation, std::span<const Record> batch,
                                  std::vector<RecordVerdict> &verdicts) const {
	const auto number = [&](const std::string &name) {
		const auto text = text_at(entry, name);
		const bool digits = !text.empty() && text.size() < 6 && text.find_first_not_of("0123456789") == text.npos;
		return digits ? std::optional(std::stoul(text)) : std::nullopt;
	};
	const auto size = records_of(operation);
	const auto place = number("operation_id"), status = number("status_code");
	if (!place || !status || *place * size >= batch.size())
		return;
	Answer answer;
	answer.status = static_cast<int>(*status);
	answer.body = text_at(entry, "response");
	const auto part = batch.subspan(*place * size, std::min(size, batch.size() - *place * size));
	Rendered asked;
	for (std::size_t i = 0; i < part.size(); ++i)
		asked.records.push_back(i);
	auto its = classify(operation, asked, part, answer);
	for (std::size_t i = 0; i < its.size(); ++i) {
		its[i].whole = its[i].whole && part.size() > 1; // of an operation's only record it is said itself
		verdicts[*place * size + i] = std::move(its[i]);
	}
}

Move MailchimpClient::resume(Operation operation, std::span<Record> batch, const std::string &state) {
	const auto json = Json::parse(state, nullptr, false);
	if (!json.is_object() || !json.contains("batch")) {
		// It was about to be posted, and may have been.
		auto verdict = unreadable("the server stopped while this record was being sent");
		if (repeatable(operation))
			verdict = {Verdict::retry};
		return ends(batch.size(), verdict);
	}
	Move move;
	move.state = Json {{"step", "poll"}, {"batch", json["batch"]}}.dump();
	move.handed_over = true;
	return move;
}

// The only request that tells a status for new members alone takes one member, and no tags.
void keep_status(RequestSpec &request) {
	static const std::string member = "/lists/{{ config.list_id }}/members/{{ email_address | lower | md5 }}";
	request.method = "PUT";
	request.path = member;
	Json body = *request.each;
	body.erase("tags");
	body["status_if_new"] = body["status"];
	body.erase("status");
	request.body = std::move(body);
	request.each.reset();
}

void adapt(Definition &definition, const ClientSettings &settings) {
	for (auto &object : definition.objects) {
		if (object.name != "members")
			continue;
		if (says(settings.sync_config, "keep_status", true))
			keep_status(object.requests.at("upsert"));
		if (says(settings.sync_config, "delete", "permanent")) {
			auto &request = object.requests.at("delete");
			request.method = "POST";
			request.encoding = Encoding::none;
			request.path += "/actions/delete-permanent";
		}
	}
}

void check_sync(const Json &settings, const Definition &) {
	auto found = settings.find("config"), fields = settings.find("fields");
	if (found == settings.end() || !found->is_object())
		return;
	const nlohmann::json config(*found);
	const std::string sync = "sync \"" + settings.value("name", "") + "\"";
	if (auto above = config.find("batches_above"); above != config.end() && !above->is_null() && !above->is_number_unsigned())
		throw Error("22023", "config of " + sync + ": batches_above is not a number of requests",
		            "Allowed is a whole number from 0 on.");
	if (says(config, "keep_status", true) && fields != settings.end() && fields->is_array())
		for (auto &field : *fields)
			if (field == "tags")
				throw Error("0A000", sync + ": tags cannot be sent with keep_status",
				            "The request that keeps a status takes no tags.", "Leave out one of the two.");
}

} // namespace

BuiltinType mailchimp_type() {
	return {.adapt = adapt,
	        .make_client = [](Definition definition, const ClientSettings &settings) -> std::unique_ptr<Client> {
		        return std::make_unique<MailchimpClient>(std::move(definition), settings);
	        },
	        .check_sync = check_sync};
}

} // namespace courier::builtin
