// Rendering a request: one body for a batch that it names, or a record after the other.

#include <algorithm>
#include <unordered_set>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "destinations/placeholder.hpp"
#include "destinations/record_parts.hpp"
#include "destinations/request_template.hpp"
#include "http/url.hpp"

namespace courier {

void RequestTemplate::append_body_of_record(std::string &out, const RenderInput &input) const {
	if (body_ == Body::record)
		out += input.record->fields;
	else
		json_.append(out, input);
}

// For destinations that accept what they cannot use, and say nothing.
void RequestTemplate::check_required(const RenderInput &input) const {
	for (auto &required : require_)
		if (std::all_of(required.any.begin(), required.any.end(), [&](auto &text) {
			    return text.is_null(input) || text.render(input).empty();
		    }))
			throw Unrenderable {"missing_value", "the record has no value for " + required.names};
}

// The body of one record, or of a batch that it names as {{ records }}.
void RequestTemplate::append_body(std::string &out, const RenderInput &input) const {
	std::string json;
	auto append_whole = [&](std::string &to) {
		if (uses_records_ && body_ == Body::record) {
			static const Placeholder records = [] {
				Placeholder its;
				its.source = Source::records;
				return its;
			}();
			append_value(to, records, input);
		} else {
			append_body_of_record(to, input);
		}
	};
	auto whole = [&] { append_whole(json); };
	switch (encoding_) {
	case Encoding::none:
		return;
	case Encoding::text:
	case Encoding::lines:
		return text_.append(out, input);
	case Encoding::json:
		return append_whole(out);
	case Encoding::ndjson:
	case Encoding::ndjson_pairs:
		if (body_ == Body::template_json && json_.is_array()) { // several lines: an action, then its document
			for (std::size_t i = 0; i < json_.elements(); ++i) {
				json.clear();
				json_.append_element(i, json, input);
				append_line(out, json);
			}
			return;
		}
		whole();
		if (uses_records_ && json_kind(json) == JsonKind::array) {
			for (auto element : json_elements(json))
				append_line(out, element);
			return;
		}
		return append_line(out, json);
	case Encoding::form:
		whole();
		return append_form(out, json, dotted_);
	case Encoding::xml:
		whole();
		return append_xml(out, json);
	case Encoding::raw:
		whole();
		return append_raw(out, json_plain(json));
	case Encoding::csv: {
		whole();
		std::vector<std::string> rows;
		if (uses_records_)
			for (auto element : json_elements(json))
				rows.emplace_back(element);
		else
			rows.push_back(std::move(json));
		return append_csv(out, rows, csv_header_);
	}
	}
}

void RequestTemplate::append_outside(Request &request, RenderInput input) const {
	path_.append(request.url, input);
	char separator = '?';
	auto parameter = [&](const Part &part) {
		if (part.text.is_null(input))
			return; // a parameter without a value is not sent
		request.url += separator;
		separator = '&';
		if (!part.name.empty())
			(request.url += part.name) += '=';
		std::string value = part.text.render(input);
		request.url += part.name.empty() ? value : http::percent_encode(value);
	};
	for (auto &part : query_)
		if (!part.each)
			parameter(part);
	for (auto &[name, text] : headers_)
		if (!text.is_null(input))
			request.headers.push_back({name, text.render(input)});
	for (auto &part : query_) {
		if (!part.each)
			continue;
		for (std::size_t i = 0; i < input.records.size(); ++i) {
			input.record = &input.batch[input.records[i]];
			input.idempotency_key = input.record->idempotency_key;
			input.index = i;
			parameter(part);
		}
	}
}

namespace {

void leave_out(Rendered &out, std::size_t index, std::string code, std::string message) {
	out.unrendered.push_back(index);
	out.why.push_back({.verdict = Verdict::rejected, .code = std::move(code), .message = std::move(message)});
}

// Runs it; a record, or all of them, may turn out to be impossible to render.
template <class Render, class Failed> bool attempt(Render render, Failed failed) {
	try {
		render();
		return true;
	} catch (const Unrenderable &problem) {
		failed(problem.code, problem.message);
	} catch (const Error &error) { // a value that the encoding cannot carry
		failed("bad_value", error.message);
	}
	return false;
}

void check_size(std::size_t bytes, std::size_t most) {
	if (most > 0 && bytes > most)
		throw Unrenderable {"too_large", "the record takes " + std::to_string(bytes) + " bytes of the body, and " +
		                                     std::to_string(most) + " are allowed"};
}

} // namespace

void RequestTemplate::render_batch(Rendered &out, RenderInput input, const Options &options) const {
	std::vector<std::string> elements, names;
	std::unordered_set<std::string> taken;
	const auto key_of_batch = input.idempotency_key;
	for (std::size_t i = 0; i < input.batch.size(); ++i) {
		input.record = &input.batch[i];
		input.idempotency_key = input.record->idempotency_key;
		input.index = out.records.size();
		std::string element, name;
		bool good = attempt(
		    [&] {
			    check_required(input);
			    if (each_)
				    each_->append(element, input);
			    if (each_ && each_is_value_ && json_kind(element) == JsonKind::null)
				    throw Unrenderable {"bad_value", "the record's element of the batch is null"};
			    check_size(each_ ? element.size() : input.record->fields.size(), options.record_bytes);
			    if (each_key_ && (name = each_key_->render(input)).empty())
				    throw Unrenderable {"bad_value", "the record's name in the batch (each_key) is empty"};
			    for (auto &part : query_)
				    if (part.each)
					    part.text.render(input);
		    },
		    [&](std::string code, std::string message) { leave_out(out, i, std::move(code), std::move(message)); });
		if (!good || (each_key_ && !taken.insert(name).second))
			continue; // a name that is in the batch already goes out with the next one
		out.records.push_back(i);
		if (each_)
			elements.push_back(std::move(element));
		if (each_key_)
			names.push_back(std::move(name));
	}
	if (out.records.empty())
		return;
	if (each_key_ && !each_)
		for (auto i : out.records)
			elements.push_back(input.batch[i].fields);
	input.records = out.records;
	input.elements = elements;
	input.names = names;
	// Of one record is here only what all of them share.
	input.record = group_by_ ? &input.batch[out.records.front()] : nullptr;
	input.idempotency_key = key_of_batch;
	input.index = 0;
	attempt(
	    [&] {
		    append_outside(out.request, input);
		    append_body(out.request.body, input);
	    },
	    [&](const std::string &code, const std::string &message) {
		    for (auto i : std::exchange(out.records, {}))
			    leave_out(out, i, code, message);
	    });
}

void RequestTemplate::render_one_by_one(Rendered &out, RenderInput input, const Options &options) const {
	Request &request = out.request;
	const auto key_of_batch = input.idempotency_key;
	const bool several = batches();
	const bool array = options.as_array && several && encoding_ == Encoding::json;
	const bool text = encoding_ == Encoding::text || encoding_ == Encoding::lines;
	std::vector<std::string> rows;
	for (std::size_t i = 0; i < input.batch.size(); ++i) {
		input.record = &input.batch[i];
		input.idempotency_key = input.record->idempotency_key;
		input.index = out.records.size();
		const bool first = out.records.empty();
		const std::size_t body = request.body.size(), headers = request.headers.size();
		bool good = attempt(
		    [&] {
			    check_required(input);
			    if (first && !several)
				    append_outside(request, input);
			    if (encoding_ == Encoding::csv) {
				    std::string row;
				    append_body_of_record(row, input);
				    if (json_kind(row) != JsonKind::object)
					    throw Unrenderable {"bad_value", "a body of encoding csv must be an object per record"};
				    check_size(row.size(), options.record_bytes);
				    rows.push_back(std::move(row));
				    return;
			    }
			    if (array)
				    request.body += first ? '[' : ',';
			    else if (text && !first && !request.body.ends_with('\n'))
				    request.body += '\n';
			    const std::size_t start = request.body.size();
			    append_body(request.body, input);
			    check_size(request.body.size() - start, options.record_bytes);
		    },
		    [&](std::string code, std::string message) { leave_out(out, i, std::move(code), std::move(message)); });
		if (good) {
			out.records.push_back(i);
			continue;
		}
		request.body.resize(body);
		request.headers.resize(headers);
		if (!several)
			request.url.clear();
	}
	if (out.records.empty())
		return;
	attempt(
	    [&] {
		    if (several) {
			    input.record = group_by_ ? &input.batch[out.records.front()] : nullptr;
			    input.idempotency_key = key_of_batch;
			    append_outside(request, input);
		    }
		    if (array)
			    request.body += ']';
		    if (encoding_ == Encoding::csv)
			    append_csv(request.body, rows, csv_header_);
	    },
	    [&](const std::string &code, const std::string &message) {
		    for (auto i : std::exchange(out.records, {}))
			    leave_out(out, i, code, message);
	    });
}

Rendered RequestTemplate::render(Operation operation, std::span<const Record> batch, std::string_view idempotency_key,
                                 const Options &options) const {
	Rendered out;
	out.request.method = method_;
	out.request.idempotent = idempotent_;
	if (!content_type_.empty())
		out.request.headers.push_back({"Content-Type", content_type_});
	if (!batches() && batch.size() > 1) { // limits() says one
		for (std::size_t i = 1; i < batch.size(); ++i) {
			out.unrendered.push_back(i);
			out.why.push_back(
			    {.verdict = Verdict::retry, .code = "not_batchable", .message = "this request carries one record"});
		}
		batch = batch.first(1);
	}
	RenderInput input {
	    .batch = batch, .records = {}, .record = nullptr, .operation = operation, .idempotency_key = idempotency_key};
	std::vector<std::string> columns;
	if (uses_columns_)
		for (auto &record : batch)
			add_columns(columns, record.fields);
	input.columns = uses_columns_ ? &columns : nullptr;
	input.rest_lacks = &rest_lacks_;
	if (uses_records_)
		render_batch(out, input, options);
	else
		render_one_by_one(out, input, options);
	return out;
}

} // namespace courier
