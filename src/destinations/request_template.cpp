#include "destinations/request_template.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "destinations/definition.hpp"
#include "http/url.hpp"

namespace courier {

namespace {

constexpr std::array<Source, 8> per_record {Source::field,    Source::record,    Source::key,    Source::key_column,
                                            Source::previous, Source::remote_id, Source::change, Source::message};

template <class Template> bool speaks_of_one(const Template &text) {
	return std::any_of(per_record.begin(), per_record.end(), [&](Source source) { return text.uses(source); });
}

bool same_name(std::string_view left, std::string_view right) {
	return left.size() == right.size() && std::equal(left.begin(), left.end(), right.begin(), [](char a, char b) {
		       return (a | 32) == (b | 32) && (a == b || ((a | 32) >= 'a' && (a | 32) <= 'z'));
	       });
}

} // namespace

RequestTemplate::RequestTemplate(const RequestSpec &spec, Scope scope) : method_(spec.method) {
	scope.secrets_allowed = !spec.from_sync;
	scope.where = spec.place + ".path";
	std::string path = spec.path;
	// Only below base_url: without the slash, "@other.host" would name another server.
	if (!path.empty() && path.front() != '/' && path.front() != '?')
		path.insert(path.begin(), '/');
	std::size_t question = path.find('?');
	path_ = TextTemplate(path.substr(0, question), scope, Context::path);
	if (question != std::string::npos) // kept as it was written, only placeholders are encoded for a query
		query_.emplace_back("", TextTemplate(path.substr(question + 1), scope, Context::query));
	for (auto &[name, text] : spec.query) {
		scope.where = spec.place + ".query." + name;
		query_.emplace_back(http::percent_encode(name), TextTemplate(text, scope, Context::text));
	}
	for (auto &[name, text] : spec.headers) {
		scope.where = spec.place + ".headers." + name;
		headers_.emplace_back(name, TextTemplate(text, scope, Context::header));
	}
	scope.where = spec.place + ".body";
	bool bare = method_ == "GET" || method_ == "HEAD" || method_ == "DELETE" || method_ == "OPTIONS";
	encoding_ = spec.encoding.value_or(!spec.body && bare ? Encoding::none : Encoding::json);
	if (spec.body && encoding_ == Encoding::text) {
		body_ = Body::template_text;
		if (!spec.body->is_string())
			throw Error("22023", scope.where + " must be text, because the encoding is text");
		text_ = TextTemplate(spec.body->get<std::string>(), scope, Context::text);
		uses_records_ = text_.uses(Source::records);
	} else if (spec.body) {
		body_ = Body::template_json;
		nlohmann::ordered_json document = *spec.body;
		// A JSON document that was written as text is a document; text that is not one placeholder is none.
		if (document.is_string() && !only_placeholder(document.get<std::string>(), scope)) {
			document = nlohmann::ordered_json::parse(spec.body->get<std::string>(), nullptr, false);
			if (!document.is_structured())
				throw Error("22023",
				            scope.where + " must be a JSON document or one placeholder, because the encoding is " +
				                std::string(to_text(encoding_)),
				            "It is \"" + spec.body->get<std::string>() + "\".",
				            "For other text say \"encoding\": \"text\".");
		}
		json_ = JsonTemplate(document, scope);
		uses_records_ = json_.uses(Source::records);
		if (encoding_ == Encoding::xml && !(document.is_object() && document.size() == 1) && !document.is_string())
			throw Error("22023",
			            scope.where + " must be an object with one key, the root element, because the encoding is xml");
	} else if (encoding_ != Encoding::none) {
		body_ = Body::record;
	}
	auto outside = [](auto &entry) { return speaks_of_one(entry.second); };
	per_record_outside_ = speaks_of_one(path_) || std::any_of(query_.begin(), query_.end(), outside) ||
	                      std::any_of(headers_.begin(), headers_.end(), outside);
	if (uses_records_ &&
	    (per_record_outside_ || (body_ == Body::template_json ? speaks_of_one(json_) : speaks_of_one(text_))))
		throw Error("22023", spec.place + " uses {{ records }}, the batch, beside placeholders of one record", {},
		            "Of a batch only records, operation, run_id, sync, object and idempotency_key have one value.");
	idempotent_ =
	    spec.idempotent.value_or(method_ == "PUT" || method_ == "DELETE" || method_ == "GET" || method_ == "HEAD");
	if (body_ != Body::none)
		content_type_ = content_type(encoding_);
	for (auto &[name, text] : headers_)
		if (same_name(name, "content-type"))
			content_type_.clear();
}

bool RequestTemplate::uses(Source source) const {
	auto inside = [&](auto &entry) { return entry.second.uses(source); };
	return path_.uses(source) || json_.uses(source) || text_.uses(source) ||
	       std::any_of(query_.begin(), query_.end(), inside) || std::any_of(headers_.begin(), headers_.end(), inside);
}

bool RequestTemplate::batches() const {
	if (per_record_outside_)
		return false;
	if (uses_records_)
		return true;
	switch (encoding_) {
	case Encoding::json:
		return body_ == Body::record;
	case Encoding::ndjson:
	case Encoding::csv:
	case Encoding::text:
		return body_ != Body::none;
	default:
		return false;
	}
}

void RequestTemplate::append_body_of_record(std::string &out, const RenderInput &input) const {
	if (body_ == Body::record)
		out += input.record->fields;
	else
		json_.append(out, input);
}

// The body of one record, or of a batch that it names as {{ records }}.
void RequestTemplate::append_body(std::string &out, const RenderInput &input) const {
	std::string json;
	switch (encoding_) {
	case Encoding::none:
		return;
	case Encoding::text:
		return text_.append(out, input);
	case Encoding::json:
		return append_body_of_record(out, input);
	case Encoding::ndjson:
		if (body_ == Body::template_json && json_.is_array()) { // several lines: an action, then its document
			for (std::size_t i = 0; i < json_.elements(); ++i) {
				json.clear();
				json_.append_element(i, json, input);
				append_line(out, json);
			}
			return;
		}
		append_body_of_record(json, input);
		if (uses_records_ && json_kind(json) == JsonKind::array) {
			for (auto element : json_elements(json))
				append_line(out, element);
			return;
		}
		return append_line(out, json);
	case Encoding::form:
		append_body_of_record(json, input);
		return append_form(out, json);
	case Encoding::xml:
		append_body_of_record(json, input);
		return append_xml(out, json);
	case Encoding::csv:
		append_body_of_record(json, input);
		std::vector<std::string> rows;
		if (uses_records_)
			for (auto element : json_elements(json))
				rows.emplace_back(element);
		else
			rows.push_back(std::move(json));
		return append_csv(out, rows);
	}
}

Rendered RequestTemplate::render(Operation operation, std::span<const Record> batch, std::string_view idempotency_key,
                                 bool as_array) const {
	Rendered out;
	Request &request = out.request;
	request.method = method_;
	request.idempotent = idempotent_;
	if (!content_type_.empty())
		request.headers.push_back({"Content-Type", content_type_});
	bool several = batches() && !uses_records_;
	if (!several && !uses_records_ && batch.size() > 1) { // limits() says one
		for (std::size_t i = 1; i < batch.size(); ++i) {
			out.unrendered.push_back(i);
			out.why.push_back(
			    {.verdict = Verdict::retry, .code = "not_batchable", .message = "this request carries one record"});
		}
		batch = batch.first(1);
	}
	RenderInput input {
	    .batch = batch, .records = {}, .record = nullptr, .operation = operation, .idempotency_key = idempotency_key};

	auto left_out = [&](std::size_t index, std::string code, std::string message) {
		out.unrendered.push_back(index);
		out.why.push_back({.verdict = Verdict::rejected, .code = std::move(code), .message = std::move(message)});
	};
	auto outside = [&] {
		path_.append(request.url, input);
		char separator = '?';
		for (auto &[name, text] : query_) {
			if (text.is_null(input))
				continue; // a parameter without a value is not sent
			request.url += separator;
			separator = '&';
			if (!name.empty())
				(request.url += name) += '=';
			std::string value = text.render(input);
			request.url += name.empty() ? value : http::percent_encode(value);
		}
		for (auto &[name, text] : headers_)
			if (!text.is_null(input))
				request.headers.push_back({name, text.render(input)});
	};

	if (uses_records_) {
		for (std::size_t i = 0; i < batch.size(); ++i)
			out.records.push_back(i);
		input.records = out.records;
		try {
			outside();
			append_body(request.body, input);
		} catch (const Unrenderable &problem) {
			out.records.clear();
			for (std::size_t i = 0; i < batch.size(); ++i)
				left_out(i, problem.code, problem.message);
		} catch (const Error &error) {
			out.records.clear();
			for (std::size_t i = 0; i < batch.size(); ++i)
				left_out(i, "bad_value", error.message);
		}
		return out;
	}

	std::vector<std::string> rows;
	bool first = true;
	bool array = as_array && several && encoding_ == Encoding::json;
	for (std::size_t i = 0; i < batch.size(); ++i) {
		input.record = &batch[i];
		std::size_t body = request.body.size(), headers = request.headers.size();
		try {
			if (first && !several)
				outside();
			if (encoding_ == Encoding::csv) {
				std::string row;
				append_body_of_record(row, input);
				if (json_kind(row) != JsonKind::object)
					throw Unrenderable {"bad_value", "a body of encoding csv must be an object per record"};
				rows.push_back(std::move(row));
			} else {
				if (array)
					request.body += first ? '[' : ',';
				else if (encoding_ == Encoding::text && !first && !request.body.ends_with('\n'))
					request.body += '\n';
				append_body(request.body, input);
			}
			out.records.push_back(i);
			first = false;
			continue;
		} catch (const Unrenderable &problem) {
			left_out(i, problem.code, problem.message);
		} catch (const Error &error) { // a value that the encoding cannot carry
			left_out(i, "bad_value", error.message);
		}
		request.body.resize(body);
		request.headers.resize(headers);
		if (!several)
			request.url.clear();
	}
	if (out.records.empty())
		return out;
	if (several) {
		input.record = nullptr;
		outside();
	}
	if (array)
		request.body += ']';
	if (encoding_ == Encoding::csv)
		append_csv(request.body, rows);
	return out;
}

} // namespace courier
