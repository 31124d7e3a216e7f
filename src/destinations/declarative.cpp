#include "destinations/declarative.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "core/retry.hpp"
#include "destinations/builtin/http.hpp"
#include "destinations/record_parts.hpp"
#include "destinations/registry.hpp"
#include "http/sign.hpp"
#include "http/url.hpp"

namespace courier {

namespace {

bool any_message(const Requests &requests) {
	return std::any_of(requests.begin(), requests.end(),
	                   [](auto &entry) { return entry.first.starts_with("message"); });
}

constexpr Change all_changes[] = {Change::added, Change::changed, Change::removed};

} // namespace

void apply_destination_config(Definition &definition, const std::string &destination,
                              const nlohmann::ordered_json &config) {
	Reader reader(config, "config of destination \"" + destination + "\"");
	if (definition.takes_base_url && reader.has("base_url"))
		definition.base_url = reader.at("base_url").text();
	if (reader.has("idempotency"))
		definition.idempotency = read_idempotency(reader.at("idempotency"), definition.idempotency);
}

Definition definition_of(const ClientSettings &settings) {
	Definition definition;
	nlohmann::ordered_json json = definition_or_builtin(settings.type, nlohmann::ordered_json(settings.definition));
	nlohmann::ordered_json config(settings.config);
	if (json.is_null()) {
		definition = http_definition(settings.destination, config);
	} else {
		definition = read_definition(settings.type, json);
		apply_destination_config(definition, settings.destination, config);
	}
	apply_sync_config(definition, settings.sync, nlohmann::ordered_json(settings.sync_config));
	adapt_builtin(definition, settings);
	return definition;
}

Scope scope_of(const Definition &definition, const ClientSettings &settings) {
	Scope scope;
	scope.secrets_allowed = true;
	scope.run_id = settings.run_id;
	scope.sync = settings.sync;
	scope.object = settings.object;
	if (!settings.match_fields.empty())
		scope.match = settings.match_fields;
	auto fill = [&](const std::map<std::string, KeySpec> &keys, const nlohmann::json &values) {
		for (auto &[name, key] : keys) {
			nlohmann::json value = key.default_value.value_or(nullptr);
			if (values.is_object() && values.contains(name) && !values[name].is_null())
				value = values[name];
			scope.config[name] = std::move(value);
		}
	};
	fill(definition.config, settings.config);
	fill(definition.sync_config, settings.sync_config);
	scope.secrets = settings.secrets;
	for (auto &[name, spec] : definition.secrets) // one that is not required and not given is empty
		scope.secrets.try_emplace(name, "");
	if (!definition.messages.empty())
		scope.messages = std::make_shared<Messages>(definition.messages, scope);
	return scope;
}

std::string render_base_url(const Definition &definition, const Scope &scope) {
	Scope constants = scope;
	constants.constants_only = true;
	constants.where = "base_url";
	for (auto &[name, key] : definition.sync_config)
		constants.config.erase(name); // a sync never changes where requests go
	return TextTemplate(definition.base_url, constants, Context::text).render({});
}

AuthSpec render_auth(const Definition &definition, const Scope &scope) {
	Scope constants = scope;
	constants.constants_only = true;
	for (auto &[name, key] : definition.sync_config)
		constants.config.erase(name);
	AuthSpec auth = definition.auth;
	for (auto &[name, text] : auth.parameters) {
		constants.where = "auth." + name;
		text = TextTemplate(text, constants, Context::text).render({});
	}
	return auth;
}

DeclarativeClient::DeclarativeClient(Definition definition, const ClientSettings &settings)
    : definition_(std::move(definition)),
      // A destination alone sends nothing but its test, and what its requests say may need the object of a sync.
      specs_(settings.sync.empty() ? Requests {} : requests_for(definition_, settings.object)),
      response_(definition_.response), limits_(definition_.limits), object_(settings.object),
      batch_size_(settings.batch_size), timeout_(settings.timeout),
      changes_objects_((settings.mode == "upsert" || settings.mode == "mirror") &&
                       settings.sync_type != "notifications") {
	if (auto object = find_object(definition_, settings.object)) {
		limits_ = merged_limits(limits_, object->limits);
		if (object->response)
			response_ = *object->response;
	}
	Scope scope = scope_of(definition_, settings);
	base_url_ = render_base_url(definition_, scope);
	http::check_url(base_url_, "base_url of destination \"" + settings.destination + "\"");
	for (auto &[name, text] : definition_.headers) {
		scope.where = "headers." + name;
		headers_.emplace_back(name, TextTemplate(text, scope, Context::header));
	}
	messages_ = scope.messages;
	if (messages_ && messages_->digest())
		std::erase_if(specs_, [](auto &entry) { return entry.first.starts_with("message."); });
	for (auto &[key, spec] : specs_)
		requests_.emplace(key, RequestTemplate(spec, request_scope(key, scope)));
	if (limits_.rate_key)
		rate_key_ = rate_key_template(*limits_.rate_key, scope);
	idempotency_ = idempotency_template(definition_.idempotency.key, scope);
	RequestSpec post;
	post.place = "default request";
	if (definition_.posts_by_default)
		default_.emplace(post, scope);
	if (definition_.posts_by_default && messages_) {
		post.body = nlohmann::ordered_json::object({{"text", "{{ message }}"}});
		default_message_.emplace(post, scope);
	}
	if (definition_.test) {
		test_.emplace(*definition_.test, scope);
	} else {
		RequestSpec get;
		get.place = "test";
		get.method = "GET";
		test_.emplace(get, scope);
	}
	AuthSpec auth = render_auth(definition_, scope);
	auth_ = make_auth(auth, settings.secrets);
	for (auto &[name, value] : settings.secrets)
		redactor_.add_secret(value);
	if (auth.type == "basic") {
		auto password = settings.secrets.find(secrets_of(auth).front().first);
		std::string value = password == settings.secrets.end() ? "" : password->second;
		if (auth.parameters["secret_is"] == "username")
			redactor_.add_basic(value, "");
		else
			redactor_.add_basic(auth.parameters["username"], value);
	}
	for (const char *name : {"name", "header"})
		if ((auth.type == "header" || auth.type == "hmac") && auth.parameters.contains(name))
			redactor_.add_header(auth.parameters[name]);
	for (auto &text : auth_->hidden())
		redactor_.add_secret(text);
}

const RequestTemplate *DeclarativeClient::find(Operation operation, Change change) const {
	std::string key = serving_key(specs_, operation, change);
	const RequestTemplate *found = key.empty() ? nullptr : &requests_.at(key);
	if (operation == Operation::message && messages_) {
		if (!found && default_message_ && !any_message(specs_))
			found = &*default_message_;
		// A change that no template speaks of is not told by a request that needs one.
		return found && (messages_->has(change) || !found->uses(Source::message)) ? found : nullptr;
	}
	if (found)
		return found;
	bool otherwise = definition_.posts_by_default && operation != Operation::archive && operation != Operation::clear &&
	                 !(operation == Operation::message && any_message(specs_));
	return otherwise ? &*default_ : nullptr;
}

const Response &DeclarativeClient::response_to(Operation operation, Change change) const {
	auto found = specs_.find(serving_key(specs_, operation, change));
	return found != specs_.end() && found->second.response ? *found->second.response : response_;
}

std::size_t DeclarativeClient::batch_records(const RequestTemplate &request) const {
	if (!request.batches())
		return 1;
	std::size_t most = limits_.batch_size.value_or(batch_size_ > 0 ? batch_size_ : 1);
	return std::max<std::size_t>(1, batch_size_ > 0 ? std::min(batch_size_, most) : most);
}

Limits DeclarativeClient::limits(Operation operation) const {
	Limits limits;
	limits.batch_bytes = limits_.batch_bytes.value_or(limits.batch_bytes);
	limits.concurrency = limits_.concurrency.value_or(limits.concurrency);
	limits.atomic = true;
	if (!rate_key_)
		limits.rate = limits_.rate;
	const RequestTemplate *first = nullptr;
	for (Change change : all_changes) {
		const RequestTemplate *request = find(operation, change);
		if (!request)
			continue;
		limits.atomic = limits.atomic && response_to(operation, change).atomic;
		std::size_t records = batch_records(*request);
		limits.grouped = limits.grouped || rate_key_ || limits_.unique || request->rate() || request->groups();
		// Two templates for one operation (a message per kind of change) cannot share a request.
		limits.batch_records = !first ? records : first != request ? 1 : std::min(limits.batch_records, records);
		if (first && first != request)
			break;
		first = request;
	}
	limits.atomic = limits.atomic && first;
	return limits;
}

bool DeclarativeClient::has(Operation operation) const {
	return std::any_of(std::begin(all_changes), std::end(all_changes),
	                   [&](Change change) { return find(operation, change); });
}

bool DeclarativeClient::names_remote_id(Operation operation, Change change) const {
	const auto *request = find(operation, change);
	return request && request->names_remote_id();
}

std::optional<Operation> DeclarativeClient::serves(Operation wanted, Change change) const {
	std::string key = serving_key(specs_, wanted, change);
	if (key.empty() || wanted == Operation::message)
		return find(wanted, change) ? std::optional(wanted) : std::nullopt;
	if (wanted == Operation::insert || wanted == Operation::update || wanted == Operation::clear)
		return wanted; // upsert serves insert as an insert, update serves clear as a clear
	return operation_from(key);
}

Placement DeclarativeClient::placement(Operation operation, const Record &record) const {
	Placement placement;
	const RequestTemplate *request = find(operation, record.change);
	if (!request)
		return placement;
	placement.group = request->group(operation, record);
	if (limits_.unique) {
		std::vector<std::string> path = split_dots(*limits_.unique);
		auto value = json_find(record.fields, path);
		placement.unique = value ? json_plain(*value) : std::string();
	}
	Budget &budget = placement.budget;
	budget.rate = limits_.rate;
	if (request->rate()) { // such a request has a budget of its own
		budget.key = object_ + "." + serving_key(specs_, operation, record.change);
		budget.rate = request->rate();
	}
	if (rate_key_) {
		try {
			budget.key += "=" + rate_key_->render({.record = &record,
			                                       .operation = operation,
			                                       .idempotency_key = record.idempotency_key});
			budget.waits_alone = true;
		} catch (const Unrenderable &) {
			// render() says why
		}
	}
	return placement;
}

std::optional<Request> DeclarativeClient::authorize(std::chrono::system_clock::time_point now) {
	auto request = auth_->authorize(now);
	if (request)
		request->timeout = timeout_;
	return request;
}

std::optional<std::string> DeclarativeClient::authorized(const Answer &answer,
                                                         std::chrono::system_clock::time_point now) {
	auto problem = auth_->authorized(answer, now);
	for (auto &text : auth_->hidden())
		redactor_.add_secret(text);
	return problem ? std::optional(redact(*problem)) : std::nullopt;
}

bool DeclarativeClient::forget_token() {
	return auth_->forget_token();
}

std::string DeclarativeClient::batch_key(std::span<const Record> batch, std::span<const std::size_t> records) const {
	if (records.size() == 1)
		return std::string(batch[records[0]].idempotency_key);
	std::string keys;
	for (auto i : records)
		(keys += std::string_view(batch[i].idempotency_key)) += '\n';
	return http::sha256_hex(keys);
}

void DeclarativeClient::finish(Request &request, const std::string &idempotency_key,
                               std::chrono::system_clock::time_point now) const {
	std::string tail = std::move(request.url);
	std::size_t question = tail.find('?');
	std::string path = tail.substr(0, question), query = question == std::string::npos ? "" : tail.substr(question + 1);
	request.url = path.empty() && query.empty() ? base_url_
	              : path.empty() ? base_url_ + (base_url_.find('?') == std::string::npos ? "?" : "&") + query
	                             : http::url_join(base_url_, path, query);
	std::vector<Header> own = std::move(request.headers);
	request.headers.clear();
	for (auto &header : own)
		if (header.name == "Content-Type")
			request.headers.push_back(header); // first, and the destination's headers may say it differently
	for (auto &[name, text] : headers_)
		http::set_header(request, name, text.render({.idempotency_key = idempotency_key}));
	for (auto &header : own)
		if (header.name != "Content-Type")
			http::set_header(request, header.name, header.value);
	if (definition_.idempotency.on && !idempotency_key.empty())
		http::set_header(request, definition_.idempotency.header,
		                 idempotency_.render({.idempotency_key = idempotency_key}));
	request.timeout = timeout_;
	if (definition_.idempotency.on && definition_.idempotency.honoured)
		request.idempotent = true;
	auth_->sign(request, now, idempotency_key.empty() ? "test" : idempotency_key); // a signature may name the message
}

Request DeclarativeClient::plain_request(std::string method, std::string path, std::string json,
                                         std::chrono::system_clock::time_point now) const {
	Request out;
	out.method = std::move(method);
	out.url = std::move(path);
	out.body = std::move(json);
	if (!out.body.empty())
		out.headers.push_back({"Content-Type", "application/json"});
	finish(out, "", now);
	out.idempotent = out.method != "POST";
	return out;
}

std::string DeclarativeClient::path_of(const Request &request) const {
	const auto path = request.url.substr(std::min(base_url_.size(), request.url.size()));
	return path.starts_with('/') ? path : "/" + path;
}

bool DeclarativeClient::may_repeat(Operation operation) const {
	for (Change change : all_changes)
		if (const auto *request = find(operation, change); request && !request->idempotent())
			return false;
	return true;
}

Rendered DeclarativeClient::render(Operation operation, std::span<const Record> batch,
                                   std::chrono::system_clock::time_point now) {
	if (batch.empty())
		return {};
	const RequestTemplate *request = find(operation, batch[0].change);
	if (!request)
		throw Error("0A000", "the destination has no request for " + std::string(to_text(operation)));
	std::vector<std::size_t> all(batch.size());
	for (std::size_t i = 0; i < all.size(); ++i)
		all[i] = i;
	RequestTemplate::Options options {.as_array = batch_records(*request) > 1,
	                                  .record_bytes = limits_.record_bytes.value_or(0)};
	std::string key = batch_key(batch, all);
	Rendered out = request->render(operation, batch, key, options);
	if (out.records.empty())
		return out;
	if (out.records.size() < batch.size()) {
		// The key is made of what goes out: without the records that were left out, now and when it is sent again.
		key = batch_key(batch, out.records);
		std::vector<Record> sent;
		for (auto i : out.records)
			sent.push_back(batch[i]);
		Rendered again = request->render(operation, sent, key, options);
		if (again.records.size() == sent.size())
			out.request = std::move(again.request);
	}
	if (request->gzip() && !out.request.body.empty()) {
		out.request.plain = std::move(out.request.body);
		out.request.body = gzip(out.request.plain);
		out.request.headers.push_back({"Content-Encoding", "gzip"});
	}
	finish(out.request, key, now);
	return out;
}

std::vector<RecordVerdict> DeclarativeClient::classify(Operation operation, const Rendered &rendered,
                                                       std::span<const Record> batch, const Answer &answer) const {
	const RequestTemplate *changing = changes_objects_ ? find(Operation::upsert, Change::changed) : nullptr;
	const Response &response = batch.empty() ? response_ : response_to(operation, batch[0].change);
	return map_answer(response, answer, batch, rendered.records, [&](const Record &record) {
		return Asked {operation, record.change, changing && changing != find(operation, record.change),
		              rendered.records.size() > 1};
	});
}

std::optional<std::chrono::milliseconds> DeclarativeClient::wait(const Answer &answer,
                                                                 std::chrono::system_clock::time_point now) const {
	if (auto header = find_header(answer, "retry-after"))
		if (auto wait = parse_retry_after(*header, now))
			return wait;
	if (auto wait = parse_rate_limit(answer.headers, now))
		return wait;
	if (!response_.learn && !response_.wait.pointer && !response_.wait.otherwise)
		return std::nullopt;
	const bool valid_json = json_valid(answer.body);
	const bool throttled = verdict_of(response_.rules, answer, valid_json, {}) == Verdict::throttled;
	if (response_.learn)
		if (auto wait = learned_wait(*response_.learn, answer, throttled, now))
			return wait;
	if (response_.wait.pointer && valid_json)
		if (auto found = find_at(answer.body, *response_.wait.pointer)) {
			std::string text = json_plain(*found);
			char *end = nullptr;
			double number = std::strtod(text.c_str(), &end);
			if (!text.empty() && *end == 0 && number >= 0 && number < 1e12)
				return std::chrono::milliseconds(
				    static_cast<std::int64_t>(number * static_cast<double>(response_.wait.unit.count())));
		}
	if (response_.wait.otherwise && throttled)
		return response_.wait.otherwise;
	return std::nullopt;
}

Request DeclarativeClient::test(std::chrono::system_clock::time_point now) {
	Record nobody;
	nobody.key_json = nobody.fields = "{}";
	Rendered out = test_->render(Operation::upsert, std::span(&nobody, 1), "", {});
	finish(out.request, "", now);
	out.request.idempotent = out.request.method == "GET" || out.request.method == "HEAD";
	return out.request;
}

// Some refuse credentials with status 200, and a rule says how.
std::optional<Tested> DeclarativeClient::tested(const Answer &answer, std::chrono::system_clock::time_point) {
	if (verdict_of(response_.rules, answer, json_valid(answer.body), {}) != Verdict::auth)
		return std::nullopt;
	Tested out;
	out.problem = "the credentials are refused: " + clean_text(answer.body, 500);
	return out;
}

std::string DeclarativeClient::redact(std::string text) const {
	return redactor_.redact(std::move(text));
}

} // namespace courier
