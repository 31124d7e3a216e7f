#include "destinations/placeholder.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "destinations/message.hpp"
#include "destinations/record_parts.hpp"

namespace courier {

namespace {

std::string_view trim(std::string_view text) {
	while (!text.empty() && static_cast<unsigned char>(text.front()) <= ' ')
		text.remove_prefix(1);
	while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ')
		text.remove_suffix(1);
	return text;
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
		         ". Besides them: record, rest, values, fields, records, index, key, key.<column>, previous.<field>, "
		         "remote_id, match_field, match_fields, match_value, change, operation, run_id, sync, object, "
		         "idempotency_key";
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

// {{ match_field }}: the field that the sync matches on; {{ match_fields }}: all of them.
bool resolve_match(Placeholder &placeholder, const Scope &scope) {
	const std::string &name = placeholder.name;
	if (name != "match_field" && name != "match_fields" && name != "match_value")
		return false;
	std::vector<std::string> match = scope.match.value_or(std::vector<std::string> {""});
	if (match.empty())
		throw Error("22023", scope.where + ": {{ " + name + " }} needs a field to match on", {},
		            "Give the sync match_on, or map the primary key.");
	if (name != "match_fields" && match.size() > 1)
		throw Error("22023", scope.where + ": {{ " + name + " }} is of one field, and the sync matches on " + list(match));
	if (name == "match_value") {
		placeholder.source = Source::field;
		placeholder.path = split_dots(match[0]);
	} else {
		placeholder.source = Source::constant;
		placeholder.constant = name == "match_field" ? json_string(match[0]) : nlohmann::json(match).dump();
	}
	return true;
}

// Of "default" and "optional", which may name what is not mapped, the names that can be nothing but a mistake.
bool must_exist(const std::string &name) {
	return name.starts_with("config.") || name.starts_with("secret.") || name.starts_with("key.");
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
	if (resolve_match(placeholder, scope))
		return;
	if (name == "message" && scope.messages) {
		placeholder.source = Source::message;
		placeholder.messages = scope.messages;
		return;
	}
	if (scope.digest && (name == "change" || name == "remote_id" || name == "key" || name.starts_with("key.") ||
	                     name.starts_with("previous.")))
		throw Error("42703", scope.where + ": {{ " + name + " }} speaks of one record, and a digest tells of all",
		            "A digest has: message, record, " + list(digest_names()) + ".");
	static constexpr std::array<std::pair<std::string_view, Source>, 11> words {{
	    {"record", Source::record},
	    {"rest", Source::rest},
	    {"values", Source::values},
	    {"fields", Source::fields},
	    {"index", Source::index},
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
	if (scope.fields && !names_field(field, *scope.fields)) {
		if (!placeholder.optional || must_exist(name))
			unknown_name(scope, name);
		placeholder.source = Source::constant; // not mapped: it is never there
		return;
	}
	if (scope.removed && placeholder.source == Source::field && !names_field(field, *scope.removed)) {
		if (!placeholder.optional)
			throw Error("42703", scope.where + ": a removed record has no field \"" + field + "\"",
			            "Of a removed row only the match fields are known: " + list(*scope.removed) + ".",
			            "Use a match field, {{ key.<column> }} or {{ remote_id }}.");
		placeholder.source = Source::constant;
	}
}

// The parts between bars; a bar inside quotes is text.
std::vector<std::string_view> split_bars(std::string_view inside) {
	std::vector<std::string_view> parts;
	bool quoted = false;
	std::size_t start = 0;
	for (std::size_t i = 0; i < inside.size(); ++i) {
		if (inside[i] == '\'')
			quoted = !quoted;
		else if (inside[i] == '|' && !quoted) {
			parts.push_back(inside.substr(start, i - start));
			start = i + 1;
		}
	}
	if (quoted) { // an apostrophe, not a quotation
		parts.clear();
		start = 0;
		for (std::size_t bar; (bar = inside.find('|', start)) != std::string_view::npos; start = bar + 1)
			parts.push_back(inside.substr(start, bar - start));
	}
	parts.push_back(inside.substr(start));
	for (auto &part : parts)
		part = trim(part);
	return parts;
}

bool is_quoted(std::string_view text) {
	return text.size() >= 2 && text.front() == '\'' && text.back() == '\'';
}

// What follows a function: {{ at | epoch: ms }}, {{ ids | join: ',' }}, {{ channel | default: config.channel }}.
PipeCall parse_call(std::string_view text, const std::string &name, const Scope &scope) {
	std::size_t colon = text.find(':');
	std::string_view word = trim(text.substr(0, colon)), argument;
	if (colon != std::string_view::npos)
		argument = trim(text.substr(colon + 1));
	auto &names = pipe_names();
	auto found = std::find_if(names.begin(), names.end(), [&](auto &pipe) { return pipe.name == word; });
	if (found == names.end()) {
		std::string all;
		for (auto &pipe : names)
			(all += all.empty() ? "" : ", ") += pipe.name;
		throw Error("42883",
		            scope.where + ": unknown function \"" + std::string(word) + "\" in {{ " + name + " | ... }}",
		            "Functions: " + all + ".");
	}
	PipeCall call;
	call.pipe = found->pipe;
	auto fail = [&](const std::string &problem, const std::string &example) {
		throw Error("42601", scope.where + ": " + std::string(word) + " in {{ " + name + " | ... }} " + problem, {},
		            "For example {{ " + name + " | " + example + " }}.");
	};
	switch (found->argument) {
	case PipeArgument::none:
		if (colon != std::string_view::npos)
			fail("takes nothing after it", std::string(word));
		break;
	case PipeArgument::text:
		if (!is_quoted(argument))
			fail("needs a quoted text", std::string(word) + ": ','");
		call.argument = argument.substr(1, argument.size() - 2);
		break;
	case PipeArgument::unit:
		if (argument.empty())
			argument = "s";
		if (argument != "s" && argument != "ms" && argument != "us")
			fail("cannot be in \"" + std::string(argument) + "\" but in s, ms or us", "epoch: ms");
		call.argument = argument;
		break;
	case PipeArgument::value: {
		if (argument.empty())
			fail("needs a value", "default: config.x");
		Placeholder other;
		other.name = std::string(argument);
		other.optional = true;
		JsonKind kind = json_kind(argument);
		if (!is_quoted(argument) && (kind == JsonKind::number || kind == JsonKind::boolean))
			other.constant = std::string(argument);
		else
			resolve(other, scope);
		call.other = std::make_shared<const Placeholder>(std::move(other));
		break;
	}
	}
	return call;
}

// Appends the raw JSON of a placeholder's value, without pipes. False: the record does not have it.
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
	auto columns = [&] {
		std::vector<std::string> own;
		if (!input.columns)
			add_columns(own, need().fields);
		return input.columns ? *input.columns : own;
	};
	switch (placeholder.source) {
	case Source::constant:
		out += placeholder.constant;
		return !placeholder.constant.empty();
	case Source::record:
		out += need().fields;
		return true;
	case Source::rest:
		append_rest(out, need().fields, input.rest_lacks ? *input.rest_lacks : std::vector<std::vector<std::string>> {});
		return true;
	case Source::values:
		append_values(out, need().fields, columns());
		return true;
	case Source::fields:
		out += nlohmann::json(columns()).dump();
		return true;
	case Source::index:
		out += std::to_string(input.index);
		return true;
	case Source::records:
		out += input.names.empty() ? '[' : '{';
		for (std::size_t i = 0; i < input.records.size(); ++i) {
			if (i > 0)
				out += ',';
			if (!input.names.empty())
				(out += json_string(input.names[i])) += ':';
			out += input.elements.empty() ? input.batch[input.records[i]].fields : input.elements[i];
		}
		out += input.names.empty() ? ']' : '}';
		return true;
	case Source::key:
		out += need().key_json;
		return true;
	case Source::key_column:
		return slice(json_find(need().key_json, placeholder.path));
	case Source::remote_id:
		if (need().remote_id.empty()) {
			if (placeholder.optional)
				return false;
			throw Unrenderable {
			    "unknown_remote_id",
			    "the request needs {{ remote_id }}, and the destination's identifier of this record is not known"};
		}
		json_append_string(out, need().remote_id);
		return true;
	case Source::previous: {
		auto value = need().previous.empty() ? std::nullopt : json_find(need().previous, placeholder.path);
		if (!value && !placeholder.optional)
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

bool is_null(const PipeValue &value) {
	return !value.is_text && json_kind(value.text) == JsonKind::null;
}

std::optional<PipeValue> evaluate(const Placeholder &placeholder, const RenderInput &input) {
	std::optional<PipeValue> value;
	std::string raw;
	if (append_json(raw, placeholder, input))
		value = PipeValue {false, std::move(raw)};
	for (auto &call : placeholder.pipes) {
		bool nothing = !value || is_null(*value);
		if (call.pipe == Pipe::fallback) {
			if (nothing)
				value = evaluate(*call.other, input);
		} else if (call.pipe == Pipe::optional) {
			if (nothing)
				value.reset();
		} else if (value && (!nothing || call.pipe == Pipe::json_text)) {
			value = apply_pipe(call.pipe, call.argument, std::move(*value));
		}
	}
	return value;
}

} // namespace

Placeholder parse_placeholder(std::string_view inside, const Scope &scope) {
	Placeholder placeholder;
	auto parts = split_bars(inside);
	placeholder.name = std::string(parts[0]);
	if (placeholder.name.empty())
		throw Error("42601", scope.where + ": a placeholder without a name", {}, "Write {{ field }}.");
	for (std::size_t i = 1; i < parts.size(); ++i) {
		placeholder.pipes.push_back(parse_call(parts[i], placeholder.name, scope));
		Pipe pipe = placeholder.pipes.back().pipe;
		placeholder.optional = placeholder.optional || pipe == Pipe::fallback || pipe == Pipe::optional;
	}
	resolve(placeholder, scope);
	return placeholder;
}

std::size_t placeholder_end(std::string_view text, std::size_t from) {
	bool quoted = false;
	for (std::size_t i = from; i + 1 < text.size(); ++i) {
		if (text[i] == '\'')
			quoted = !quoted;
		else if (!quoted && text[i] == '}' && text[i + 1] == '}')
			return i;
	}
	return text.find("}}", from);
}

void visit_placeholder(const Placeholder &placeholder, const PlaceholderVisitor &visitor) {
	visitor(placeholder);
	for (auto &call : placeholder.pipes)
		if (call.other)
			visit_placeholder(*call.other, visitor);
}

bool append_value(std::string &out, const Placeholder &placeholder, const RenderInput &input) {
	if (placeholder.pipes.empty())
		return append_json(out, placeholder, input);
	auto value = evaluate(placeholder, input);
	if (!value)
		return false;
	if (value->is_text)
		json_append_string(out, value->text);
	else
		out += value->text;
	return true;
}

std::optional<std::string> placeholder_text(const Placeholder &placeholder, const RenderInput &input) {
	auto value = evaluate(placeholder, input);
	if (!value || is_null(*value))
		return std::nullopt;
	return plain(*value);
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
