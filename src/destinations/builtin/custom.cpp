#include <algorithm>
#include <map>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "destinations/builtin/builtin.hpp"
#include "destinations/rest_client.hpp"

// A destination that somebody has written as a small server: JSON-RPC 2.0 over HTTP, with the methods of the custom
// destinations of Hightouch (behavior, validate, list_objects; add, change, remove with rejectedRows), so that such a
// server can be used as it is.
//
// `behavior` is asked before the first rows, in the place where others ask for a token: it says how many rows a call
// may have and which operations there are. Rows are the mapped records. `configuration` is the sync's own, to which
// object, mode and the mapping (each field to itself) are added under the names that those servers know.

namespace courier {

namespace {

using Time = std::chrono::system_clock::time_point;
using Json = nlohmann::json;

constexpr std::size_t usual_batch = 100;
constexpr std::size_t largest_batch = 10000;

AuthSpec auth_of(const ClientSettings &settings) {
	AuthSpec auth;
	auth.type = settings.secrets.contains("token") ? "bearer" : "none";
	return auth;
}

class CustomClient final : public RestClient {
public:
	explicit CustomClient(const ClientSettings &settings)
	    : RestClient(settings, auth_of(settings), settings.config.value("base_url", "")) {}

	Limits limits(Operation) const override {
		Limits limits;
		limits.batch_records = settings_.batch_size > 0 ? std::min(settings_.batch_size, largest_batch) : usual_batch;
		limits.concurrency = 4;
		return limits;
	}
	bool has(Operation operation) const override {
		return operation == Operation::upsert || operation == Operation::insert || operation == Operation::update ||
		       operation == Operation::del;
	}
	bool repeatable(Operation) const override { return sync_config("idempotent", "true") == "true"; }

	std::optional<Request> authorize(Time now) override {
		return knows_behavior_ ? std::nullopt : std::optional(call("behavior", {}, now));
	}
	std::optional<std::string> authorized(const Answer &answer, Time now) override;
	bool forget_token() override { return false; }

	Rendered render(Operation operation, std::span<const Record> batch, Time now) override;
	std::vector<RecordVerdict> classify(Operation operation, const Rendered &rendered, std::span<const Record> batch,
	                                    const Answer &answer) const override;
	Request test(Time now) override { return call("validate", {}, now); }
	std::optional<Tested> tested(const Answer &answer, Time now) override;

private:
	std::string configuration(const Record *example) const;
	Request call(std::string_view method, std::string_view rest, Time now, const Record *example = nullptr) const;
	static std::string_view method_for(Change change) {
		return change == Change::added ? "add" : change == Change::changed ? "change" : "remove";
	}
	std::string id_column() const { return settings_.match_fields.empty() ? "id" : settings_.match_fields.front(); }

	bool knows_behavior_ = false, skip_initial_run_ = false, tested_once_ = false;
	std::size_t batch_ = usual_batch;
	std::map<std::string, bool> operations_;
};

std::string CustomClient::configuration(const Record *example) const {
	Json out = Json::object();
	if (auto own = settings_.sync_config.find("configuration");
	    settings_.sync_config.is_object() && own != settings_.sync_config.end() && own->is_object())
		out = *own;
	const auto add = [&](const char *name, Json value) {
		if (!out.contains(name))
			out[name] = std::move(value);
	};
	if (!settings_.object.empty())
		add("object", settings_.object);
	if (!settings_.mode.empty())
		add("mode", settings_.mode);
	if (example) {
		Json mappings = Json::array();
		for (auto &[name, value] : json_members(example->fields))
			mappings.push_back({{"from", name}, {"to", name}});
		add("identifierMapping", {{"from", id_column()}, {"to", id_column()}});
		add("mappings", std::move(mappings));
	}
	return out.dump();
}

Request CustomClient::call(std::string_view method, std::string_view rest, Time now, const Record *example) const {
	std::string body = R"({"jsonrpc":"2.0","id":1,"method":)" + json_string(method) + R"(,"params":{"configuration":)" +
	                   configuration(example);
	body += rest;
	body += "}}";
	auto out = request("POST", "", std::move(body), "application/json", now);
	const bool asks = method == "behavior" || method == "validate" || method.starts_with("list_");
	out.idempotent = asks || repeatable(Operation::upsert);
	return out;
}

std::optional<std::string> CustomClient::authorized(const Answer &answer, Time) {
	if (auto verdict = trouble(answer))
		return redact("behavior: " + verdict->message);
	auto result = json_find(answer.body, {"result"});
	if (!result || json_kind(*result) != JsonKind::object) {
		auto message = json_find(answer.body, {"error", "message"});
		return redact("behavior: " + (message ? json_plain(*message) : std::string("the answer has no result")));
	}
	const auto said = Json::parse(*result, nullptr, false);
	if (auto size = said.find("batchSize"); size != said.end() && size->is_number_unsigned())
		batch_ = std::clamp<std::size_t>(size->get<std::size_t>(), 1, largest_batch);
	for (const char *name : {"add", "change", "remove"}) {
		auto found = json_find(*result, {"operations", name});
		operations_[name] = !found || json_plain(*found) == "true";
	}
	auto skip = json_find(*result, {"skipInitialRun"});
	skip_initial_run_ = skip && json_plain(*skip) == "true";
	knows_behavior_ = true;
	return std::nullopt;
}

Rendered CustomClient::render(Operation, std::span<const Record> batch, Time now) {
	Rendered out;
	if (batch.empty())
		return out;
	const auto method = method_for(batch.front().change);
	if (auto known = operations_.find(std::string(method)); known != operations_.end() && !known->second) {
		for (std::size_t i = 0; i < batch.size(); ++i) {
			out.unrendered.push_back(i);
			out.why.push_back({.verdict = Verdict::rejected,
			                   .code = "no_such_operation",
			                   .message = "the server's behavior says that it has no " + std::string(method)});
		}
		return out;
	}
	std::string rows;
	for (std::size_t i = 0; i < batch.size() && i < batch_; ++i) {
		(rows += rows.empty() ? "" : ",") += batch[i].fields;
		out.records.push_back(i);
	}
	out.request =
	    call(method, ",\"idColumn\":" + json_string(id_column()) + ",\"rows\":[" + rows + "]", now, &batch.front());
	return out;
}

// {"result": {"rejectedRows": [...]}}: rows, or {"row": ..., "reason": ...}. null is what servers answer that have
// nothing to say.
std::vector<RecordVerdict> CustomClient::classify(Operation, const Rendered &rendered, std::span<const Record> batch,
                                                  const Answer &answer) const {
	const auto count = rendered.records.size();
	if (auto verdict = trouble(answer))
		return all(count, *verdict);
	if (!json_valid(answer.body))
		return all(count, unreadable("the answer is no JSON"));
	if (auto error = json_find(answer.body, {"error"}); error && json_kind(*error) == JsonKind::object) {
		RecordVerdict verdict {Verdict::rejected};
		verdict.whole = true;
		if (auto code = json_find(*error, {"code"}))
			verdict.code = json_plain(*code);
		if (auto message = json_find(*error, {"message"}))
			verdict.message = json_plain(*message);
		if (verdict.code == "-32603") // internal error
			verdict.verdict = Verdict::retry;
		return all(count, verdict);
	}
	if (!json_find(answer.body, {"result"}))
		return all(count, unreadable("the answer has neither result nor error"));
	auto out = all(count, {});
	auto rejected = json_find(answer.body, {"result", "rejectedRows"});
	if (!rejected)
		return out;
	std::map<std::string, std::size_t> places;
	for (std::size_t i = 0; i < count; ++i)
		places.emplace(field_text(batch[rendered.records[i]], id_column()), i);
	for (auto entry : json_elements(*rejected)) {
		const auto row = json_find(entry, {"row"}).value_or(entry);
		auto id = json_find(row, {id_column()});
		auto place = id ? places.find(json_plain(*id)) : places.end();
		if (place == places.end())
			return all(count, unreadable("rejectedRows has a row that was not sent"));
		auto &verdict = out[place->second];
		verdict.verdict = Verdict::rejected;
		verdict.code = "rejected_row";
		for (const char *name : {"reason", "message", "error"})
			if (auto words = json_find(entry, {name}); words && verdict.message.empty())
				verdict.message = json_plain(*words);
	}
	return out;
}

std::optional<Tested> CustomClient::tested(const Answer &answer, Time now) {
	Tested out;
	if (auto verdict = trouble(answer)) {
		out.problem = verdict->message;
		return out;
	}
	auto result = json_find(answer.body, {"result"});
	if (!result) {
		auto message = json_find(answer.body, {"error", "message"});
		out.problem = message ? json_plain(*message) : "the answer is no JSON-RPC result";
		return out;
	}
	if (!tested_once_) {
		tested_once_ = true;
		if (auto errors = json_find(*result, {"errors"}); errors && !json_elements(*errors).empty())
			out.problem = "validate: " + std::string(*errors);
		else
			out.next = call("list_objects", {}, now);
		return out;
	}
	std::string objects, operations;
	if (auto list = json_find(*result, {"objects"}))
		for (auto entry : json_elements(*list)) {
			auto id = json_find(entry, {"id"});
			(objects += objects.empty() ? "" : ", ") += json_plain(id.value_or(entry));
		}
	for (auto &[name, there] : operations_)
		if (there)
			(operations += operations.empty() ? "" : ", ") += name;
	out.words = "the server answers: batches of " + std::to_string(batch_) + "; " + operations +
	            (objects.empty() ? "" : "; objects " + objects) +
	            (skip_initial_run_ ? "; wants no initial run (create syncs with first_run => 'baseline')" : "");
	return out;
}

} // namespace

namespace builtin {

BuiltinType custom_type() {
	return {.make_client = [](Definition, const ClientSettings &settings) -> std::unique_ptr<Client> {
		return std::make_unique<CustomClient>(settings);
	}};
}

} // namespace builtin

} // namespace courier
