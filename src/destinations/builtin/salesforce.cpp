#include "destinations/salesforce.hpp"

#include <algorithm>
#include <map>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "destinations/builtin/builtin.hpp"
#include "http/url.hpp"

// Salesforce tells records apart by an external id field (upsert) or by its own record id (update, delete). The
// external id is the sync's match field. Record ids come with every answer and stay in the snapshot; where one is not
// known (mode update, a baseline), the record is looked up before it is written, as many at a time as a query takes.

namespace courier {

namespace {

constexpr std::size_t collection_records = 200;
constexpr std::size_t query_bytes = 6000; // of SOQL, before percent-encoding; the URL may have 16,384

AuthSpec auth_of(const ClientSettings &settings) {
	AuthSpec auth;
	const bool refresh = settings.secrets.contains("refresh_token");
	if (!refresh && !settings.secrets.contains("client_secret"))
		throw Error("22023", "destination \"" + settings.destination + "\" needs a secret",
		            "client_secret for OAuth client credentials, or refresh_token.",
		            "SELECT courier.alter_destination('" + settings.destination +
		                "', secrets => '{\"client_secret\": {\"file\": \"...\"}}')");
	auth.type = refresh ? "oauth2_refresh_token" : "oauth2_client_credentials";
	auth.parameters["token_url"] = http::url_join(settings.config.value("base_url", ""), "/services/oauth2/token");
	auth.parameters["client_id"] = settings.config.value("client_id", "");
	return auth;
}

std::string soql_text(const std::string &text) {
	std::string out = "'";
	for (char c : text) {
		if (c == '\'' || c == '\\')
			out += '\\';
		out += c;
	}
	return out + "'";
}

bool is_number(const Record &record, const std::string &field) {
	for (const std::string *json : {&record.fields, &record.previous})
		if (auto found = json_find(*json, {field}))
			return json_kind(*found) == JsonKind::number;
	return false;
}

} // namespace

namespace {

// Records are told apart by one external id, and where they are only inserted, by nothing.
void check_salesforce_sync(const nlohmann::ordered_json &settings, const Definition &) {
	const auto match = settings.find("match_on");
	const bool several = match != settings.end() && match->is_array() && match->size() != 1;
	if (several && settings.value("mode", "") != "insert")
		throw Error("22023", "sync \"" + settings.value("name", "") + "\" must match on one field",
		            "Salesforce tells records apart by one external id field.", "match_on => '{External_Id__c}'");
}

} // namespace

namespace builtin {

BuiltinType salesforce_type() {
	return {.make_client = [](Definition, const ClientSettings &settings) -> std::unique_ptr<Client> {
		        return std::make_unique<SalesforceClient>(settings);
	        },
	        .check_sync = check_salesforce_sync};
}

} // namespace builtin

SalesforceClient::SalesforceClient(const ClientSettings &settings)
    : RestClient(settings, auth_of(settings), settings.config.value("base_url", "")),
      version_(config("api_version", "v60.0")), api_(sync_config("api", "auto")) {
	if (auto above = settings.sync_config.find("bulk_above");
	    settings.sync_config.is_object() && above != settings.sync_config.end() && above->is_number_unsigned())
		bulk_above_ = above->get<std::uint64_t>();
	bulk_ = api_ == "bulk";
}

void SalesforceClient::expect(std::uint64_t changes) {
	bulk_ = api_ == "bulk" || (api_ == "auto" && changes > bulk_above_);
}

// A Bulk job may have 100 MB, but its results repeat the columns, and an answer of ours may have 16 MB.
Limits SalesforceClient::limits(Operation) const {
	Limits limits;
	limits.batch_records = bulk_ ? 10000 : collection_records;
	limits.batch_bytes = bulk_ ? 8 << 20 : 1 << 20;
	limits.concurrency = 4;
	limits.conversations = bulk_ ? 4 : 0;
	return limits;
}

bool SalesforceClient::has(Operation operation) const {
	return operation == Operation::upsert || operation == Operation::insert || operation == Operation::update ||
	       operation == Operation::del || operation == Operation::clear;
}

bool SalesforceClient::repeatable(Operation operation) const {
	return operation != Operation::insert;
}

bool SalesforceClient::needs_id(Operation operation) const {
	return operation == Operation::update || operation == Operation::del || operation == Operation::clear;
}

std::string SalesforceClient::id_of(const Record &record) const {
	return match_field() == "Id" ? field_text(record, "Id") : record.remote_id;
}

// The instance is not always the host that gives tokens.
std::optional<std::string> SalesforceClient::authorized(const Answer &answer, Time now) {
	if (auto problem = RestClient::authorized(answer, now))
		return problem;
	const auto token = Json::parse(answer.body, nullptr, false);
	const auto instance = token.is_object() ? token.value("instance_url", "") : std::string();
	if (instance.empty())
		return std::nullopt;
	try {
		http::check_url(instance, "instance_url");
	} catch (const Error &) {
		return "the answer's instance_url is no URL";
	}
	if (config("base_url").starts_with("https:") && !instance.starts_with("https:"))
		return "the answer's instance_url is not https";
	address(instance);
	return std::nullopt;
}

std::optional<RecordVerdict> SalesforceClient::trouble(const Answer &answer) const {
	auto verdict = RestClient::trouble(answer);
	if (!verdict)
		return verdict;
	if (auto code = json_find(answer.body, {"0", "errorCode"}))
		verdict->code = json_plain(*code);
	if (auto message = json_find(answer.body, {"0", "message"}))
		verdict->message = json_plain(*message);
	if (verdict->code == "REQUEST_LIMIT_EXCEEDED")
		verdict->verdict = Verdict::throttled;
	else if (verdict->code == "SERVER_UNAVAILABLE" || verdict->code == "UNABLE_TO_LOCK_ROW")
		verdict->verdict = Verdict::retry;
	return verdict;
}

RecordVerdict SalesforceClient::failure(Operation operation, const std::string &code, std::string message) const {
	RecordVerdict verdict {Verdict::rejected};
	verdict.code = code;
	verdict.message = std::move(message);
	if (code == "UNABLE_TO_LOCK_ROW" || verdict.message.find("UNABLE_TO_LOCK_ROW") != std::string::npos)
		verdict.verdict = Verdict::retry;
	else if (code == "ENTITY_IS_DELETED" || (operation == Operation::del && code == "INVALID_CROSS_REFERENCE_KEY"))
		verdict.verdict = Verdict::missing;
	return verdict;
}

Request SalesforceClient::collection(Operation operation, std::span<const Record> batch,
                                     std::span<const std::size_t> records, Time now) const {
	if (operation == Operation::del) {
		std::string ids;
		for (auto i : records)
			(ids += ids.empty() ? "" : ",") += id_of(batch[i]);
		return request("DELETE", path("/composite/sobjects?ids=" + ids + "&allOrNone=false"), "", "", now);
	}
	std::string body = "{\"allOrNone\":false,\"records\":[";
	bool first = true;
	for (auto i : records) {
		auto record = batch[i].fields;
		if (needs_id(operation)) {
			if (match_field() != "Id")
				record = with_member(record, "id", json_string(id_of(batch[i])));
		}
		record = with_member(record, "attributes", "{\"type\":" + json_string(settings_.object) + "}");
		(body += first ? "" : ",") += record;
		first = false;
	}
	body += "]}";
	if (operation == Operation::upsert)
		return request("PATCH",
		               path("/composite/sobjects/" + http::percent_encode(settings_.object) + "/" +
		                    http::percent_encode(match_field())),
		               std::move(body), "application/json", now);
	return request(operation == Operation::insert ? "POST" : "PATCH", path("/composite/sobjects"), std::move(body),
	               "application/json", now);
}

// An array as long as the request, in its order.
std::vector<RecordVerdict> SalesforceClient::results(Operation operation, std::size_t records,
                                                     const Answer &answer) const {
	const auto entries = json_elements(answer.body);
	if (entries.size() != records)
		return all(records, unreadable("the answer has " + std::to_string(entries.size()) + " results for " +
		                               std::to_string(records) + " records"));
	std::vector<RecordVerdict> out;
	for (auto entry : entries) {
		const auto text = [&](std::vector<std::string> where) {
			auto found = json_find(entry, where);
			return found ? json_plain(*found) : std::string();
		};
		if (text({"success"}) == "true") {
			out.emplace_back();
			out.back().remote_id = text({"id"});
		} else {
			out.push_back(failure(operation, text({"errors", "0", "statusCode"}), text({"errors", "0", "message"})));
		}
	}
	return out;
}

Rendered SalesforceClient::render(Operation operation, std::span<const Record> batch, Time now) {
	Rendered out;
	if (batch.empty())
		return out;
	const bool by_match = operation == Operation::upsert || needs_id(operation);
	if (by_match && settings_.match_fields.size() != 1)
		throw Error("55000", "sync \"" + settings_.sync + "\" must match on one field",
		            "Salesforce tells records apart by one external id field.", "match_on => '{External_Id__c}'");
	bool look_up = false;
	for (std::size_t i = 0; i < batch.size(); ++i) {
		if (by_match && id_of(batch[i]).empty() && field_text(batch[i], match_field()).empty()) {
			out.unrendered.push_back(i);
			out.why.push_back({.verdict = Verdict::rejected,
			                   .code = "unknown_remote_id",
			                   .message = "neither the record id nor the value of " + match_field() + " is known"});
			continue;
		}
		out.records.push_back(i);
		look_up = look_up || (needs_id(operation) && id_of(batch[i]).empty());
	}
	if (out.records.empty())
		return out;
	if (look_up)
		out.state = R"({"step":"find","at":0})";
	else if (bulk_)
		out.state = R"({"step":"create"})";
	if (out.state.empty())
		out.request = collection(operation, batch, out.records, now);
	else
		out.request = step(operation, batch, out.state, now);
	return out;
}

std::vector<RecordVerdict> SalesforceClient::classify(Operation operation, const Rendered &rendered,
                                                      std::span<const Record>, const Answer &answer) const {
	if (auto verdict = trouble(answer))
		return all(rendered.records.size(), *verdict);
	return results(operation, rendered.records.size(), answer);
}

SalesforceClient::Query SalesforceClient::query(std::span<const Record> batch, std::size_t at) const {
	const auto field = match_field();
	Query out;
	std::string values;
	std::size_t records = 0;
	for (; at < batch.size() && values.size() < query_bytes && records < collection_records; ++at) {
		if (!id_of(batch[at]).empty())
			continue;
		const auto value = field_text(batch[at], field);
		(values += records++ ? "," : "") += is_number(batch[at], field) ? value : soql_text(value);
	}
	if (records > 0)
		out.text = "SELECT Id, " + field + " FROM " + settings_.object + " WHERE " + field + " IN (" + values + ")";
	out.next = at;
	return out;
}

std::vector<std::size_t> SalesforceClient::with_id(std::span<const Record> batch) const {
	std::vector<std::size_t> out;
	for (std::size_t i = 0; i < batch.size(); ++i)
		if (!id_of(batch[i]).empty())
			out.push_back(i);
	return out;
}

Move SalesforceClient::found(Operation operation, std::span<Record> batch, std::size_t at, const Answer &answer) const {
	Move move;
	auto records = json_find(answer.body, {"records"});
	if (!records) {
		move.verdicts = all(batch.size(), unreadable("the answer to a query has no records"));
		return move;
	}
	const auto end = query(batch, at).next;
	std::map<std::string, std::string> ids;
	for (auto record : json_elements(*records)) {
		auto id = json_find(record, {"Id"}), value = json_find(record, {match_field()});
		if (id && value)
			ids[json_plain(*value)] = json_plain(*id);
	}
	for (std::size_t i = at; i < end; ++i)
		if (auto id = ids.find(field_text(batch[i], match_field())); id != ids.end() && id_of(batch[i]).empty())
			batch[i].remote_id = id->second;
	if (!query(batch, end).text.empty()) {
		move.state = Json {{"step", "find"}, {"at", end}}.dump();
	} else if (with_id(batch).empty()) {
		RecordVerdict missing {Verdict::missing};
		missing.message = settings_.object + " has no such record";
		move.verdicts = all(batch.size(), missing);
	} else {
		move.state = Json {{"step", bulk_ ? "create" : "write"}}.dump();
	}
	(void)operation;
	return move;
}

Request SalesforceClient::step(Operation operation, std::span<const Record> batch, const std::string &state, Time now) {
	const auto json = Json::parse(state);
	const std::string step = json.at("step");
	if (step == "find")
		return request("GET", path("/query?q=" + http::percent_encode(query(batch, json.at("at")).text)), "", "", now);
	if (step == "write")
		return collection(operation, batch, with_id(batch), now);
	return bulk_step(operation, batch, json, now);
}

Move SalesforceClient::next(Operation operation, std::span<Record> batch, const std::string &state,
                            const Answer &answer) {
	const auto json = Json::parse(state);
	const std::string step = json.at("step");
	if (step != "find" && step != "write")
		return bulk_next(operation, batch, json, answer);
	if (auto verdict = trouble(answer))
		return move_for(*verdict, batch.size());
	if (step == "find")
		return found(operation, batch, json.at("at"), answer);
	RecordVerdict missing {Verdict::missing};
	missing.message = settings_.object + " has no such record";
	Move move;
	move.verdicts = all(batch.size(), missing);
	const auto written = with_id(batch);
	const auto said = results(operation, written.size(), answer);
	for (std::size_t i = 0; i < written.size(); ++i)
		(*move.verdicts)[written[i]] = said[i];
	return move;
}

Request SalesforceClient::test(Time now) {
	return request("GET", path("/limits"), "", "", now);
}

} // namespace courier
