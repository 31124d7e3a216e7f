#include "destinations/rest_client.hpp"

#include "core/json_text.hpp"
#include "core/retry.hpp"
#include "destinations/mapper.hpp"
#include "http/url.hpp"

namespace courier {

namespace {

using Time = std::chrono::system_clock::time_point;

std::string text_in(const nlohmann::json &object, const std::string &key, const std::string &otherwise) {
	if (!object.is_object() || !object.contains(key) || object[key].is_null())
		return otherwise;
	return object[key].is_string() ? object[key].get<std::string>() : object[key].dump();
}

} // namespace

RestClient::RestClient(const ClientSettings &settings, const AuthSpec &auth, std::string base_url)
    : settings_(settings), base_url_(std::move(base_url)), auth_(make_auth(auth, settings.secrets)) {
	http::check_url(base_url_, "base_url of destination \"" + settings.destination + "\"");
	for (auto &[name, value] : settings.secrets)
		redactor_.add_secret(value);
	if (auto name = auth.parameters.find("username"); auth.type == "basic" && name != auth.parameters.end())
		if (auto secret = settings.secrets.find(secrets_of(auth).front().first); secret != settings.secrets.end())
			redactor_.add_basic(name->second, secret->second);
}

std::string RestClient::config(const std::string &key, const std::string &otherwise) const {
	return text_in(settings_.config, key, otherwise);
}

std::string RestClient::sync_config(const std::string &key, const std::string &otherwise) const {
	return text_in(settings_.sync_config, key, otherwise);
}

std::optional<Request> RestClient::authorize(Time now) {
	auto request = auth_->authorize(now);
	if (request)
		request->timeout = settings_.timeout;
	return request;
}

std::optional<std::string> RestClient::authorized(const Answer &answer, Time now) {
	auto problem = auth_->authorized(answer, now);
	for (auto &text : auth_->hidden())
		redactor_.add_secret(text);
	return problem ? std::optional(redact(*problem)) : std::nullopt;
}

bool RestClient::forget_token() {
	return auth_->forget_token();
}

std::optional<std::chrono::milliseconds> RestClient::wait(const Answer &answer, Time now) const {
	if (auto header = find_header(answer, "retry-after"))
		if (auto wait = parse_retry_after(*header, now))
			return wait;
	return parse_rate_limit(answer.headers, now);
}

std::string RestClient::redact(std::string text) const {
	return redactor_.redact(std::move(text));
}

Request RestClient::request(std::string method, std::string path, std::string body, std::string_view content_type,
                            Time now) const {
	Request out;
	out.method = std::move(method);
	out.url = path.empty() ? base_url_ : http::url_join(base_url_, path);
	out.body = std::move(body);
	out.timeout = settings_.timeout;
	out.idempotent = out.method != "POST";
	if (!content_type.empty())
		out.headers.push_back({"Content-Type", std::string(content_type)});
	out.headers.push_back({"Accept", content_type == "text/csv" ? "*/*" : "application/json"});
	auth_->sign(out, now, "");
	return out;
}

std::optional<RecordVerdict> RestClient::trouble(const Answer &answer) const {
	if (answer.status >= 200 && answer.status < 300)
		return std::nullopt;
	RecordVerdict verdict;
	verdict.whole = true;
	verdict.message = default_message(answer, json_valid(answer.body));
	const int status = answer.status;
	if (status == 401)
		verdict.verdict = Verdict::auth;
	else if (status == 429 || (status == 503 && find_header(answer, "retry-after")))
		verdict.verdict = Verdict::throttled;
	else if (status == 408 || status == 409 || status == 425 || status >= 500)
		verdict.verdict = Verdict::retry;
	else if (status == 413)
		verdict.verdict = Verdict::split;
	else
		verdict.verdict = Verdict::rejected;
	return verdict;
}

Move RestClient::move_for(const RecordVerdict &trouble, std::size_t records) {
	Move move;
	if (trouble.verdict == Verdict::rejected || trouble.verdict == Verdict::split)
		move.verdicts = all(records, trouble);
	else
		move.repeat = trouble;
	return move;
}

std::vector<RecordVerdict> RestClient::all(std::size_t records, RecordVerdict verdict) {
	return std::vector<RecordVerdict>(records, std::move(verdict));
}

RecordVerdict RestClient::unreadable(std::string message) {
	RecordVerdict verdict {Verdict::rejected};
	verdict.bad_answer = true;
	verdict.message = std::move(message);
	return verdict;
}

std::string with_member(std::string_view object, std::string_view name, std::string_view value) {
	std::string out = "{" + json_string(name) + ":";
	out += value;
	for (auto &[member, text] : json_members(object)) {
		if (member == name)
			continue;
		out += ',';
		json_append_string(out, member);
		out += ':';
		out += text;
	}
	return out + "}";
}

std::string field_text(const Record &record, const std::string &name) {
	std::vector<std::string> path(1);
	for (char c : name)
		if (c == '.')
			path.emplace_back();
		else
			path.back() += c;
	for (const std::string *json : {&record.fields, &record.previous})
		if (auto found = json_find(*json, path); found && json_kind(*found) != JsonKind::null)
			return json_plain(*found);
	return {};
}

} // namespace courier
