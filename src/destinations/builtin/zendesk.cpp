#include <algorithm>
#include <map>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "destinations/builtin/builtin.hpp"
#include "destinations/rest_client.hpp"
#include "http/url.hpp"

// Zendesk takes up to 100 records at a time and works on them in a job, whose id comes with the answer:
//
//   [find ->] post -> poll ... -> verdicts
//
// The id is kept as soon as it is known. What creates records and may not be repeated is kept before it is posted, too:
// then a crash in between leaves records of which nobody knows (`unknown`), rather than two tickets.
//
// Updates go by Zendesk's own id. Where it is not known, records are found by their external id first. Organizations
// have no create_or_update_many; they are upserted one by one, without a job.

namespace courier {

namespace {

using Time = std::chrono::system_clock::time_point;
using Json = nlohmann::json;

constexpr std::size_t most_records = 100;

AuthSpec auth_of(const ClientSettings &settings) {
	AuthSpec auth;
	if (settings.secrets.contains("oauth_token")) {
		auth.type = "bearer";
		auth.secret_names["token"] = "oauth_token";
		return auth;
	}
	const auto email = settings.config.value("email", "");
	if (email.empty() || !settings.secrets.contains("api_token"))
		throw Error("22023", "destination \"" + settings.destination + "\" lacks credentials",
		            "Either config email and secret api_token, or secret oauth_token.");
	auth.type = "basic";
	auth.parameters["username"] = email + "/token";
	auth.secret_names["password"] = "api_token";
	return auth;
}

std::string text_at(std::string_view json, const std::vector<std::string> &path) {
	auto found = json_find(json, path);
	return found ? json_plain(*found) : std::string();
}

std::string without_null(const std::string &object, std::string_view name) {
	if (auto value = json_find(object, {std::string(name)}); !value || json_kind(*value) != JsonKind::null)
		return object;
	std::string out = "{";
	for (auto &[member, text] : json_members(object))
		if (member != name) {
			out += out.size() > 1 ? "," : "";
			json_append_string(out, member);
			(out += ':') += text;
		}
	return out + "}";
}

class ZendeskClient final : public RestClient {
public:
	explicit ZendeskClient(const ClientSettings &settings)
	    : RestClient(settings, auth_of(settings), settings.config.value("base_url", "")),
	      tickets_(settings.object == "tickets"), one_by_one_(settings.object == "organizations") {}

	Limits limits(Operation operation) const override {
		Limits limits;
		const bool job = !(one_by_one_ && operation == Operation::upsert);
		limits.batch_records = job ? most_records : 1;
		limits.concurrency = 4;
		limits.conversations = job ? 10 : 0; // of the account's 30, so that others get theirs
		return limits;
	}
	bool has(Operation operation) const override {
		return operation == Operation::insert || operation == Operation::update || operation == Operation::clear ||
		       operation == Operation::del || (operation == Operation::upsert && !tickets_);
	}
	std::optional<Operation> serves(Operation wanted, Change change) const override {
		if (wanted == Operation::upsert && tickets_)
			return change == Change::added ? Operation::insert : Operation::update;
		return Client::serves(wanted, change);
	}
	bool repeatable(Operation operation) const override { return operation != Operation::insert; }

	Rendered render(Operation operation, std::span<const Record> batch, Time now) override;
	std::vector<RecordVerdict> classify(Operation, const Rendered &rendered, std::span<const Record>,
	                                    const Answer &answer) const override {
		RecordVerdict verdict = trouble(answer).value_or(RecordVerdict {});
		if (verdict.verdict == Verdict::accepted)
			verdict.remote_id = text_at(answer.body, {"organization", "id"});
		return all(rendered.records.size(), verdict);
	}
	Request step(Operation operation, std::span<const Record> batch, const std::string &state, Time now) override;
	Move next(Operation operation, std::span<Record> batch, const std::string &state, const Answer &answer) override;
	Move resume(Operation operation, std::span<Record> batch, const std::string &state) override;
	Request test(Time now) override { return request("GET", "/api/v2/users/me", "", "", now); }

private:
	std::optional<RecordVerdict> trouble(const Answer &answer) const override;
	bool by_id(Operation operation) const { return operation == Operation::update || operation == Operation::clear; }
	std::string match_field() const { return settings_.match_fields.empty() ? "" : settings_.match_fields.front(); }
	std::string id_of(const Record &record) const {
		return match_field() == "id" ? field_text(record, "id") : record.remote_id;
	}
	bool can_find() const { return match_field() == "external_id" && !tickets_; }
	Request post(Operation operation, std::span<const Record> batch, Time now) const;
	Move found(std::span<Record> batch, const Answer &answer) const;
	Move polled(Operation operation, std::span<Record> batch, const std::string &job, const Answer &answer) const;
	std::vector<RecordVerdict> results(Operation operation, std::span<Record> batch, std::string_view entries) const;
	std::string url(std::string_view rest) const { return "/api/v2/" + settings_.object + std::string(rest); }

	bool tickets_, one_by_one_;
};

// {"error": "RecordInvalid", "description": "...", "details": {"email": [{"description": "..."}]}}
std::optional<RecordVerdict> ZendeskClient::trouble(const Answer &answer) const {
	auto verdict = RestClient::trouble(answer);
	if (!verdict || !json_valid(answer.body))
		return verdict;
	if (auto error = json_find(answer.body, {"error"}); error && json_kind(*error) == JsonKind::string)
		verdict->code = json_plain(*error);
	auto words = text_at(answer.body, {"description"});
	if (auto details = json_find(answer.body, {"details"}))
		for (auto &[field, problems] : json_members(*details))
			for (auto problem : json_elements(problems))
				(words += words.empty() ? "" : "; ") += text_at(problem, {"description"});
	if (!words.empty())
		verdict->message = words;
	return verdict;
}

Rendered ZendeskClient::render(Operation operation, std::span<const Record> batch, Time now) {
	Rendered out;
	bool look_up = false;
	std::optional<bool> deletes_by_id;
	for (std::size_t i = 0; i < batch.size(); ++i) {
		const bool known = !id_of(batch[i]).empty(),
		           findable = can_find() && !field_text(batch[i], "external_id").empty();
		if ((by_id(operation) || operation == Operation::del) && !known && !findable) {
			out.unrendered.push_back(i);
			out.why.push_back({.verdict = Verdict::rejected,
			                   .code = "unknown_remote_id",
			                   .message = "neither Zendesk's id nor an external_id is known"});
			continue;
		}
		// One request names ids, or external ids; the others have theirs.
		if (operation == Operation::del) {
			if (deletes_by_id && *deletes_by_id != known)
				continue;
			deletes_by_id = known;
		}
		look_up = look_up || (by_id(operation) && !known);
		out.records.push_back(i);
	}
	if (out.records.empty())
		return out;
	std::vector<Record> sent;
	for (auto i : out.records)
		sent.push_back(batch[i]);
	if (one_by_one_ && operation == Operation::upsert) {
		out.request = request("POST", url("/create_or_update"), "{\"organization\":" + sent.front().fields + "}",
		                      "application/json", now);
		out.request.idempotent = true;
		return out;
	}
	out.state = look_up ? R"({"step":"find"})" : R"({"step":"post"})";
	out.keep = !look_up && !repeatable(operation);
	out.request = step(operation, sent, out.state, now);
	return out;
}

Request ZendeskClient::post(Operation operation, std::span<const Record> batch, Time now) const {
	if (operation == Operation::del) {
		const bool known = !id_of(batch.front()).empty();
		std::string names;
		for (auto &record : batch)
			(names += names.empty() ? "" : ",") +=
			    http::percent_encode(known ? id_of(record) : field_text(record, "external_id"));
		return request("DELETE", url("/destroy_many?" + std::string(known ? "ids=" : "external_ids=") + names), "", "",
		               now);
	}
	std::string body = "{\"" + settings_.object + "\":[";
	const bool quiet =
	    settings_.object == "users" && !by_id(operation) && sync_config("skip_verify_email", "true") == "true";
	bool first = true;
	for (auto &record : batch) {
		if (by_id(operation) && id_of(record).empty())
			continue; // it is missing there
		// What is published does not allow null for an address, and none that a user has can be taken away like this.
		auto text = settings_.object == "users" ? without_null(record.fields, "email") : record.fields;
		if (by_id(operation) && match_field() != "id")
			text = with_member(text, "id", id_of(record));
		if (quiet && !json_find(text, {"skip_verify_email"}))
			text = with_member(text, "skip_verify_email", "true");
		(body += first ? "" : ",") += text;
		first = false;
	}
	body += "]}";
	if (by_id(operation))
		return request("PUT", url("/update_many"), std::move(body), "application/json", now);
	auto out = request("POST", url(operation == Operation::insert ? "/create_many" : "/create_or_update_many"),
	                   std::move(body), "application/json", now);
	out.idempotent = repeatable(operation);
	return out;
}

Request ZendeskClient::step(Operation operation, std::span<const Record> batch, const std::string &state, Time now) {
	const auto json = Json::parse(state);
	const std::string step = json.at("step");
	if (step == "post")
		return post(operation, batch, now);
	if (step == "find") {
		std::string names;
		for (auto &record : batch)
			if (id_of(record).empty())
				(names += names.empty() ? "" : ",") += http::percent_encode(field_text(record, "external_id"));
		return request("GET", url("/show_many?external_ids=" + names), "", "", now);
	}
	return request("GET", "/api/v2/job_statuses/" + http::percent_encode(json.at("job").get<std::string>()), "", "",
	               now);
}

Move ZendeskClient::found(std::span<Record> batch, const Answer &answer) const {
	Move move;
	auto entries = json_find(answer.body, {settings_.object});
	if (!entries) {
		move.verdicts = all(batch.size(), unreadable("the answer has no " + settings_.object));
		return move;
	}
	std::map<std::string, std::string> ids;
	for (auto entry : json_elements(*entries))
		ids[text_at(entry, {"external_id"})] = text_at(entry, {"id"});
	bool any = false;
	for (auto &record : batch) {
		if (auto id = ids.find(field_text(record, "external_id")); id != ids.end() && id_of(record).empty())
			record.remote_id = id->second;
		any = any || !id_of(record).empty();
	}
	if (!any)
		move.verdicts = all(batch.size(), {Verdict::missing});
	else
		move.state = R"({"step":"post"})";
	return move;
}

Move ZendeskClient::next(Operation operation, std::span<Record> batch, const std::string &state, const Answer &answer) {
	const auto json = Json::parse(state);
	const std::string step = json.at("step");
	if (step == "poll" && answer.status == 404) {
		Move move;
		move.verdicts =
		    all(batch.size(), unreadable("Zendesk does not know job " + json.value("job", "") + " any more"));
		return move;
	}
	if (auto verdict = trouble(answer)) {
		if (step == "poll" && verdict->verdict == Verdict::rejected)
			verdict->verdict = Verdict::retry; // it says nothing about records
		return move_for(*verdict, batch.size());
	}
	if (step == "find")
		return found(batch, answer);
	return polled(operation, batch, json.value("job", ""), answer);
}

// The answer to the post is the job's first status.
Move ZendeskClient::polled(Operation operation, std::span<Record> batch, const std::string &job,
                           const Answer &answer) const {
	Move move;
	const auto id = text_at(answer.body, {"job_status", "id"}), status = text_at(answer.body, {"job_status", "status"});
	if (id.empty() && job.empty()) {
		move.verdicts = all(batch.size(), unreadable("the answer has no job status"));
		return move;
	}
	const auto entries = json_find(answer.body, {"job_status", "results"});
	if (status == "completed" || (status == "failed" && entries && !json_elements(*entries).empty())) {
		move.verdicts = results(operation, batch, entries.value_or("null"));
	} else if (status == "failed") {
		RecordVerdict failed {Verdict::rejected};
		failed.whole = true;
		failed.code = "job_failed";
		failed.message = text_at(answer.body, {"job_status", "message"});
		move.verdicts = all(batch.size(), failed);
	} else {
		move.state = Json {{"step", "poll"}, {"job", job.empty() ? id : job}}.dump();
		move.keep = job.empty();
		move.handed_over = move.poll = true;
	}
	return move;
}

// By index; by Zendesk's id, external id or email; by place, where there are as many entries as records.
std::vector<RecordVerdict> ZendeskClient::results(Operation operation, std::span<Record> batch,
                                                  std::string_view entries) const {
	auto out = all(batch.size(), unreadable("the job's results do not mention this record"));
	std::vector<std::size_t> posted;
	std::map<std::string, std::size_t> places;
	for (std::size_t i = 0; i < batch.size(); ++i) {
		if (by_id(operation) && id_of(batch[i]).empty()) {
			out[i] = {Verdict::missing};
			continue;
		}
		posted.push_back(i);
		for (auto &name : {"id:" + id_of(batch[i]), "external:" + field_text(batch[i], "external_id"),
		                   "email:" + field_text(batch[i], "email")})
			if (!name.ends_with(':'))
				places.try_emplace(name, i);
	}
	if (json_kind(entries) == JsonKind::object) { // of a job that does one thing: {"success": true}
		const bool good = text_at(entries, {"success"}) == "true";
		for (auto i : posted)
			out[i] = good ? RecordVerdict {} : unreadable("the job did not succeed, and does not say why");
		return out;
	}
	const auto list = json_elements(entries);
	for (std::size_t at = 0; at < list.size(); ++at) {
		const auto entry = list[at];
		const bool bad = json_find(entry, {"error"}) || text_at(entry, {"success"}) == "false" ||
		                 text_at(entry, {"status"}) == "Failed";
		std::optional<std::size_t> place;
		if (auto index = text_at(entry, {"index"}); !index.empty() && index.size() < 5)
			if (auto number = static_cast<std::size_t>(std::atoi(index.c_str())); number < posted.size())
				place = posted[number];
		for (auto &name : {"id:" + text_at(entry, {"id"}), "external:" + text_at(entry, {"external_id"}),
		                   "email:" + text_at(entry, {"email"})})
			if (auto known = places.find(name); !place && known != places.end())
				place = known->second;
		if (!place && list.size() == posted.size())
			place = posted[at];
		if (!place)
			continue;
		auto &verdict = out[*place];
		verdict = {};
		if (!bad) {
			verdict.remote_id = text_at(entry, {"id"});
			continue;
		}
		verdict.verdict = Verdict::rejected;
		verdict.code = text_at(entry, {"error"});
		verdict.message = text_at(entry, {"details"});
		if (verdict.code == "UserNotFound" || verdict.code == "OrganizationNotFound" ||
		    verdict.code == "TicketNotFound" || verdict.code == "RecordNotFound")
			verdict.verdict = Verdict::missing;
	}
	return out;
}

Move ZendeskClient::resume(Operation operation, std::span<Record> batch, const std::string &state) {
	const auto json = Json::parse(state, nullptr, false);
	Move move;
	if (json.is_object() && json.value("step", "") == "poll") {
		move.state = state;
		move.handed_over = true;
		return move;
	}
	// It was about to be posted, and may have been.
	RecordVerdict verdict = unreadable("the server stopped while this record was being sent");
	if (repeatable(operation))
		verdict = {Verdict::retry};
	move.verdicts = all(batch.size(), verdict);
	return move;
}

} // namespace

namespace builtin {

BuiltinType zendesk_type() {
	return {.make_client = [](Definition, const ClientSettings &settings) -> std::unique_ptr<Client> {
		return std::make_unique<ZendeskClient>(settings);
	}};
}

} // namespace builtin

} // namespace courier
