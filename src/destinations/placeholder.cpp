#include "destinations/placeholder.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "core/xml_text.hpp"
#include "destinations/message.hpp"
#include "http/sign.hpp"
#include "http/url.hpp"

namespace courier {

namespace {

constexpr std::array<std::pair<std::string_view, Pipe>, 10> pipes {{
    {"text", Pipe::text},
    {"json_text", Pipe::json_text},
    {"base64", Pipe::base64},
    {"sha256", Pipe::sha256},
    {"lower", Pipe::lower},
    {"upper", Pipe::upper},
    {"trim", Pipe::trim},
    {"digits", Pipe::digits},
    {"url", Pipe::url},
    {"xml", Pipe::xml},
}};

std::string_view trim(std::string_view text) {
	while (!text.empty() && static_cast<unsigned char>(text.front()) <= ' ')
		text.remove_prefix(1);
	while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ')
		text.remove_suffix(1);
	return text;
}

std::vector<std::string> split_dots(std::string_view name) {
	std::vector<std::string> path;
	std::size_t start = 0;
	for (std::size_t dot; (dot = name.find('.', start)) != std::string_view::npos; start = dot + 1)
		path.emplace_back(name.substr(start, dot - start));
	path.emplace_back(name.substr(start));
	return path;
}

std::string list(const std::vector<std::string> &names) {
	std::string out;
	for (auto &name : names)
		out += (out.empty() ? "" : ", ") + name;
	return out;
}

// "a" names the field a, every field below it ("a.b"), and what lies inside a json field ("a" mapped, "a.b" asked for).
bool names_field(const std::string &name, const std::vector<std::string> &fields) {
	return std::any_of(fields.begin(), fields.end(), [&](const std::string &field) {
		return field == name || field.starts_with(name + ".") || name.starts_with(field + ".");
	});
}

[[noreturn]] void unknown_name(const Scope &scope, const std::string &name) {
	std::string detail;
	if (scope.constants_only) {
		detail = "Only config keys and secrets have a value here, not fields of a record.";
	} else {
		detail = "Mapped fields: " + list(scope.fields.value_or(std::vector<std::string> {})) +
		         ". Besides them: record, records, key, key.<column>, previous.<field>, remote_id, change, operation, "
		         "run_id, "
		         "sync, object, idempotency_key";
		detail += scope.messages ? ", message." : ".";
	}
	if (!scope.config.empty()) {
		std::vector<std::string> names;
		for (auto &[key, value] : scope.config)
			names.push_back("config." + key);
		detail += " Config: " + list(names) + ".";
	}
	if (scope.secrets_allowed && !scope.secrets.empty()) {
		std::vector<std::string> names;
		for (auto &[key, value] : scope.secrets)
			names.push_back("secret." + key);
		detail += " Secrets: " + list(names) + ".";
	}
	throw Error("42703", scope.where + ": there is nothing called \"" + name + "\" for {{ " + name + " }}", detail,
	            name == "message" ? "Give the sync's config \"messages\", or map a field of this name."
	                              : "Map the field, or correct the template.");
}

void resolve(Placeholder &placeholder, const Scope &scope) {
	const std::string &name = placeholder.name;
	auto constant = [&](const std::string &text) {
		placeholder.source = Source::constant;
		placeholder.constant = json_string(text);
	};
	if (name.size() >= 2 && name.front() == '\'' && name.back() == '\'')
		return constant(name.substr(1, name.size() - 2));
	if (name.starts_with("config.")) {
		if (auto found = scope.config.find(name.substr(7)); found != scope.config.end()) {
			placeholder.source = Source::constant;
			placeholder.constant = found->second.is_null() ? "" : found->second.dump();
			return;
		}
	}
	if (name.starts_with("secret.")) {
		if (auto found = scope.secrets.find(name.substr(7)); found != scope.secrets.end()) {
			if (!scope.secrets_allowed)
				throw Error("42501", scope.where + ": a sync may not use {{ " + name + " }}", {},
				            "Secrets may stand in the destination or in its type only.");
			return constant(found->second);
		}
	}
	// A field that is called like this is reached as {{ record.config.x }}.
	if (scope.constants_only || name.starts_with("config.") || name.starts_with("secret."))
		unknown_name(scope, name);
	if (name == "run_id")
		return constant(scope.run_id);
	if (name == "sync")
		return constant(scope.sync);
	if (name == "object" && !scope.object.empty())
		return constant(scope.object);
	if (name == "message" && scope.messages) {
		placeholder.source = Source::message;
		placeholder.messages = scope.messages;
		return;
	}
	if (scope.digest && (name == "change" || name == "remote_id" || name == "key" || name.starts_with("key.") ||
	                     name.starts_with("previous.")))
		throw Error("42703", scope.where + ": {{ " + name + " }} speaks of one record, and a digest tells of all",
		            "A digest has: message, record, " + list(digest_names()) + ".");
	static constexpr std::array<std::pair<std::string_view, Source>, 7> words {{
	    {"record", Source::record},
	    {"records", Source::records},
	    {"key", Source::key},
	    {"remote_id", Source::remote_id},
	    {"change", Source::change},
	    {"operation", Source::operation},
	    {"idempotency_key", Source::idempotency_key},
	}};
	for (auto &[word, source] : words)
		if (name == word) {
			placeholder.source = source;
			return;
		}
	if (name.starts_with("key.") && name.size() > 4) {
		placeholder.source = Source::key_column;
		placeholder.path = {name.substr(4)};
		if (scope.key && std::find(scope.key->begin(), scope.key->end(), placeholder.path[0]) == scope.key->end())
			throw Error("42703", scope.where + ": the primary key has no column \"" + placeholder.path[0] + "\"",
			            "Primary key: " + list(*scope.key) + ".");
		return;
	}
	std::string field = name;
	placeholder.source = Source::field;
	if (name.starts_with("previous.") && name.size() > 9) {
		placeholder.source = Source::previous;
		field = name.substr(9);
	} else if (name.starts_with("record.") && name.size() > 7) {
		field = name.substr(7);
	}
	placeholder.path = split_dots(field);
	if (scope.fields && !names_field(field, *scope.fields))
		unknown_name(scope, name);
	if (scope.removed && placeholder.source == Source::field && !names_field(field, *scope.removed))
		throw Error("42703", scope.where + ": a removed record has no field \"" + field + "\"",
		            "Of a removed row only the match fields are known: " + list(*scope.removed) + ".",
		            "Use a match field, {{ key.<column> }} or {{ remote_id }}.");
}

std::string apply(Pipe pipe, std::string text) {
	switch (pipe) {
	case Pipe::text:
	case Pipe::json_text:
		return text;
	case Pipe::base64:
		return http::base64(text);
	case Pipe::sha256:
		return http::sha256_hex(text);
	case Pipe::lower: // ASCII: what vendors ask of keys and e-mail addresses; other letters are lower-cased in SQL
		for (char &c : text)
			c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
		return text;
	case Pipe::upper:
		for (char &c : text)
			c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
		return text;
	case Pipe::trim:
		return std::string(trim(text));
	case Pipe::digits:
		std::erase_if(text, [](char c) { return c < '0' || c > '9'; });
		return text;
	case Pipe::url:
		return http::percent_encode(text);
	case Pipe::xml:
		return xml_escape(text);
	}
	return text;
}

} // namespace

Placeholder parse_placeholder(std::string_view inside, const Scope &scope) {
	Placeholder placeholder;
	std::size_t bar = inside.find('|');
	placeholder.name = std::string(trim(inside.substr(0, bar)));
	if (placeholder.name.empty())
		throw Error("42601", scope.where + ": a placeholder without a name", {}, "Write {{ field }}.");
	while (bar != std::string_view::npos) {
		inside.remove_prefix(bar + 1);
		bar = inside.find('|');
		std::string_view name = trim(inside.substr(0, bar));
		auto found = std::find_if(pipes.begin(), pipes.end(), [&](auto &pipe) { return pipe.first == name; });
		if (found == pipes.end())
			throw Error("42883",
			            scope.where + ": unknown function \"" + std::string(name) + "\" in {{ " + placeholder.name +
			                " | ... }}",
			            "Functions: text, json_text, base64, sha256, lower, upper, trim, digits, url, xml.");
		if (found->second == Pipe::json_text && !placeholder.pipes.empty())
			throw Error("42601",
			            scope.where + ": json_text must be the first function of {{ " + placeholder.name + " }}");
		placeholder.pipes.push_back(found->second);
	}
	resolve(placeholder, scope);
	return placeholder;
}

bool append_json(std::string &out, const Placeholder &placeholder, const RenderInput &input) {
	auto need = [&]() -> const Record & {
		if (!input.record)
			throw Unrenderable {"bad_template",
			                    "{{ " + placeholder.name + " }} speaks of one record, and this is a batch"};
		return *input.record;
	};
	auto slice = [&](std::optional<std::string_view> value) {
		if (value)
			out += *value;
		return value.has_value();
	};
	switch (placeholder.source) {
	case Source::constant:
		out += placeholder.constant;
		return !placeholder.constant.empty();
	case Source::record:
		out += need().fields;
		return true;
	case Source::records:
		out += '[';
		for (std::size_t i = 0; i < input.records.size(); ++i) {
			if (i > 0)
				out += ',';
			out += input.batch[input.records[i]].fields;
		}
		out += ']';
		return true;
	case Source::key:
		out += need().key_json;
		return true;
	case Source::key_column:
		return slice(json_find(need().key_json, placeholder.path));
	case Source::remote_id:
		if (need().remote_id.empty())
			throw Unrenderable {
			    "unknown_remote_id",
			    "the request needs {{ remote_id }}, and the destination's identifier of this record is not known"};
		json_append_string(out, need().remote_id);
		return true;
	case Source::previous: {
		auto value = need().previous.empty() ? std::nullopt : json_find(need().previous, placeholder.path);
		if (!value)
			throw Unrenderable {"unknown_remote_id", "the request needs {{ " + placeholder.name +
			                                             " }}, and the last accepted value is not known"};
		return slice(value);
	}
	case Source::change:
		json_append_string(out, to_text(need().change));
		return true;
	case Source::operation:
		json_append_string(out, to_text(input.operation));
		return true;
	case Source::idempotency_key:
		json_append_string(out, input.idempotency_key);
		return true;
	case Source::message:
		json_append_string(out, placeholder.messages->render(need()));
		return true;
	case Source::field:
		break;
	}
	const Record &record = need();
	if (slice(json_find(record.fields, placeholder.path)))
		return true;
	// What was accepted last is all that is known of a removed row, whatever form its record came in.
	return record.change == Change::removed && !record.previous.empty() &&
	       slice(json_find(record.previous, placeholder.path));
}

std::optional<std::string> placeholder_text(const Placeholder &placeholder, const RenderInput &input) {
	std::string raw;
	if (!append_json(raw, placeholder, input))
		return std::nullopt;
	bool as_json = !placeholder.pipes.empty() && placeholder.pipes.front() == Pipe::json_text;
	if (!as_json && json_kind(raw) == JsonKind::null)
		return std::nullopt;
	std::string text = as_json ? std::move(raw) : json_plain(raw);
	for (Pipe pipe : placeholder.pipes)
		text = apply(pipe, std::move(text));
	return text;
}

bool is_dot_segment(std::string_view segment) {
	std::size_t dots = 0;
	while (!segment.empty()) {
		if (segment.front() == '.')
			segment.remove_prefix(1);
		else if (segment.starts_with("%2e") || segment.starts_with("%2E"))
			segment.remove_prefix(3);
		else
			return false;
		if (++dots > 2)
			return false;
	}
	return dots > 0;
}

} // namespace courier
