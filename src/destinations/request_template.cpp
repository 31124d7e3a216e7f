#include "destinations/request_template.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "destinations/definition.hpp"
#include "destinations/placeholder.hpp"
#include "destinations/record_parts.hpp"
#include "http/url.hpp"

namespace courier {

namespace {

constexpr std::array<Source, 11> per_record {Source::field,      Source::record,   Source::rest,       Source::values,
                                             Source::index,      Source::key,      Source::key_column, Source::previous,
                                             Source::remote_id,  Source::change,   Source::message};

bool of_one_record(const Placeholder &placeholder) {
	return std::find(per_record.begin(), per_record.end(), placeholder.source) != per_record.end();
}

bool same_name(std::string_view left, std::string_view right) {
	return left.size() == right.size() && std::equal(left.begin(), left.end(), right.begin(), [](char a, char b) {
		       return (a | 32) == (b | 32) && (a == b || ((a | 32) >= 'a' && (a | 32) <= 'z'));
	       });
}

std::string quoted(const nlohmann::ordered_json &value) {
	return value.is_string() ? "\"" + value.get<std::string>() + "\"" : value.dump();
}

} // namespace

RequestTemplate::RequestTemplate(const RequestSpec &spec, Scope scope)
    : method_(spec.method), gzip_(spec.gzip), dotted_(spec.dotted), csv_header_(spec.csv_header), rate_(spec.rate) {
	scope.secrets_allowed = !spec.from_sync;
	scope.where = spec.place + ".path";
	std::string path = spec.path;
	// Only below base_url: without the slash, "@other.host" would name another server.
	if (!path.empty() && path.front() != '/' && path.front() != '?')
		path.insert(path.begin(), '/');
	std::size_t question = path.find('?');
	path_ = TextTemplate(path.substr(0, question), scope, Context::path);
	if (question != std::string::npos) // kept as it was written, only placeholders are encoded for a query
		query_.push_back({"", TextTemplate(path.substr(question + 1), scope, Context::query)});
	for (auto &[name, text] : spec.query) {
		scope.where = spec.place + ".query." + name;
		query_.push_back({http::percent_encode(name), TextTemplate(text, scope, Context::text)});
	}
	for (auto &[name, text] : spec.query_each) {
		scope.where = spec.place + ".query." + name + ".each";
		query_.push_back({http::percent_encode(name), TextTemplate(text, scope, Context::text), true});
	}
	for (auto &[name, text] : spec.headers) {
		scope.where = spec.place + ".headers." + name;
		headers_.emplace_back(name, TextTemplate(text, scope, Context::header));
	}
	if (spec.group_by) {
		scope.where = spec.place + ".group_by";
		group_by_.emplace(*spec.group_by, scope, Context::text);
	}
	compile_body(spec, scope);
	compile_each(spec, scope);
	check_batch(spec);

	visit([&](const Placeholder &its) {
		if (its.source == Source::field)
			rest_lacks_.push_back(its.path);
		uses_columns_ = uses_columns_ || its.source == Source::fields || its.source == Source::values;
	});
	scope.where = spec.place + ".exclude";
	scope.fields.reset();
	for (auto &name : spec.exclude) { // may be a config key: "{{ config.id_field }}"
		std::string field = TextTemplate(name, scope, Context::text).render({});
		rest_lacks_.push_back(split_dots(field));
	}

	idempotent_ =
	    spec.idempotent.value_or(method_ == "PUT" || method_ == "DELETE" || method_ == "GET" || method_ == "HEAD");
	if (body_ != Body::none)
		content_type_ = content_type(encoding_);
	for (auto &[name, text] : headers_)
		if (same_name(name, "content-type"))
			content_type_.clear();
}

bool RequestTemplate::names_remote_id() const {
	bool named = false;
	PlaceholderVisitor look = [&](const Placeholder &its) { named = named || its.source == Source::remote_id; };
	path_.visit(look);
	for (auto &part : query_)
		part.text.visit(look);
	json_.visit(look);
	text_.visit(look);
	if (each_)
		each_->visit(look);
	return named;
}

void RequestTemplate::compile_body(const RequestSpec &spec, Scope &scope) {
	scope.where = spec.place + ".body";
	bool bare = method_ == "GET" || method_ == "HEAD" || method_ == "DELETE" || method_ == "OPTIONS";
	encoding_ = spec.encoding.value_or(!spec.body && !spec.each && bare ? Encoding::none : Encoding::json);
	std::string encoding(to_text(encoding_));
	bool text = encoding_ == Encoding::text || encoding_ == Encoding::lines;
	if (!spec.body) {
		if (encoding_ != Encoding::none)
			body_ = Body::record;
		return;
	}
	if (text) {
		body_ = Body::template_text;
		if (!spec.body->is_string())
			throw Error("22023", scope.where + " must be text, because the encoding is " + encoding);
		text_ = TextTemplate(spec.body->get<std::string>(), scope, Context::text);
		return;
	}
	body_ = Body::template_json;
	nlohmann::ordered_json document = *spec.body;
	bool one = document.is_string() && only_placeholder(document.get<std::string>(), scope);
	if (encoding_ == Encoding::raw && !one)
		throw Error("22023", scope.where + " must be one placeholder, because the encoding is raw",
		            "It is " + quoted(document) + ".", "Map a bytea column and write \"{{ field }}\".");
	// A JSON document that was written as text is a document; text that is not one placeholder is none.
	if (document.is_string() && !one) {
		document = nlohmann::ordered_json::parse(spec.body->get<std::string>(), nullptr, false);
		if (!document.is_structured())
			throw Error("22023", scope.where + " must be a JSON document or one placeholder, because the encoding is " + encoding,
			            "It is \"" + spec.body->get<std::string>() + "\".", "For other text say \"encoding\": \"text\".");
	}
	if (encoding_ == Encoding::ndjson_pairs && !document.is_array())
		throw Error("22023", scope.where + " must be an array, the lines of a record, because the encoding is ndjson_pairs",
		            {}, R"(For example [{"index": {"_id": "{{ id }}"}}, "{{ record }}"].)");
	json_ = JsonTemplate(document, scope);
	if (encoding_ == Encoding::xml && !(document.is_object() && document.size() == 1) && !document.is_string())
		throw Error("22023",
		            scope.where + " must be an object with one key, the root element, because the encoding is xml");
}

void RequestTemplate::compile_each(const RequestSpec &spec, Scope &scope) {
	if (spec.each) {
		scope.where = spec.place + ".each";
		nlohmann::ordered_json document = *spec.each;
		if (document.is_string() && !only_placeholder(document.get<std::string>(), scope)) { // a document written as text
			auto parsed = nlohmann::ordered_json::parse(document.get<std::string>(), nullptr, false);
			if (parsed.is_structured())
				document = std::move(parsed);
		}
		each_is_value_ = !document.is_structured();
		each_.emplace(document, scope);
		if (each_->uses(Source::records))
			throw Error("22023", scope.where + " is of one record, and {{ records }} is the batch");
	}
	if (spec.each_key) {
		scope.where = spec.place + ".each_key";
		each_key_.emplace(*spec.each_key, scope, Context::text);
	}
	bool named = body_ == Body::template_json ? json_.uses(Source::records) : text_.uses(Source::records);
	auto names_batch = [](auto &part) { return part.text.uses(Source::records) || part.each; };
	named = named || path_.uses(Source::records) || std::any_of(query_.begin(), query_.end(), names_batch) ||
	        std::any_of(headers_.begin(), headers_.end(), [](auto &entry) { return entry.second.uses(Source::records); });
	if ((each_ || each_key_) && !named) {
		if (body_ != Body::record)
			throw Error("22023", spec.place + (each_ ? ".each" : ".each_key") + " is not used", {},
			            "Put {{ records }} where the elements belong, or leave the body out: then it is all of them.");
		named = true;
	}
	uses_records_ = named;
}

// What speaks of one record must be the same for a whole batch, or there is no batch.
void RequestTemplate::check_batch(const RequestSpec &spec) {
	std::vector<std::pair<Source, std::vector<std::string>>> agreed;
	if (group_by_)
		group_by_->visit([&](const Placeholder &its) { agreed.emplace_back(its.source, its.path); });
	auto differs = [&](const Placeholder &its) {
		return of_one_record(its) &&
		       std::find(agreed.begin(), agreed.end(), std::pair(its.source, its.path)) == agreed.end();
	};
	PlaceholderVisitor outside = [&](const Placeholder &its) { one_record_outside_ = one_record_outside_ || differs(its); };
	path_.visit(outside);
	for (auto &part : query_)
		if (!part.each)
			part.text.visit(outside);
	for (auto &[name, text] : headers_)
		text.visit(outside);
	if (!uses_records_)
		return;
	bool wrong = one_record_outside_;
	std::string name;
	PlaceholderVisitor inside = [&](const Placeholder &its) {
		if (differs(its))
			wrong = true, name = its.name;
	};
	json_.visit(inside);
	text_.visit(inside);
	if (wrong)
		throw Error("22023", spec.place + " uses {{ records }}, the batch, beside placeholders of one record", {},
		            "Of a batch only records, fields, operation, run_id, sync, object and idempotency_key have one value, and "
		            "what stands in group_by. What is of each record belongs into \"each\".");
}

void RequestTemplate::visit(const PlaceholderVisitor &visitor) const {
	path_.visit(visitor);
	for (auto &part : query_)
		part.text.visit(visitor);
	for (auto &[name, text] : headers_)
		text.visit(visitor);
	json_.visit(visitor);
	text_.visit(visitor);
	if (group_by_)
		group_by_->visit(visitor);
	if (each_)
		each_->visit(visitor);
	if (each_key_)
		each_key_->visit(visitor);
}

bool RequestTemplate::uses(Source source) const {
	bool named = false;
	visit([&](const Placeholder &its) { named = named || its.source == source; });
	return named;
}

bool RequestTemplate::batches() const {
	if (one_record_outside_)
		return false;
	if (uses_records_)
		return true;
	switch (encoding_) {
	case Encoding::json:
		return body_ == Body::record;
	case Encoding::ndjson:
	case Encoding::ndjson_pairs:
	case Encoding::csv:
	case Encoding::text:
	case Encoding::lines:
		return body_ != Body::none;
	default:
		return false;
	}
}

std::string RequestTemplate::group(Operation operation, const Record &record) const {
	if (!group_by_)
		return {};
	try {
		return group_by_->render(
		    {.record = &record, .operation = operation, .idempotency_key = record.idempotency_key});
	} catch (const Unrenderable &) {
		return {}; // render() says why
	}
}

} // namespace courier
