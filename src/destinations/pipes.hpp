#pragma once

// The functions of templates: {{ email | trim | lower | sha256 }}. A closed list. A value is JSON until a function makes it
// text; text that stands alone in a JSON body becomes a JSON string, so `number` and `epoch` give JSON again.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace courier {

enum class Pipe {
	text, // "string" is the same
	json_text,
	number,
	lower,
	upper,
	trim,
	digits,
	base64,
	sha256,
	md5,
	uuid,
	url,
	xml,
	epoch,
	join,
	texts,
	prefix,
	suffix,
	line_measurement,
	line_tag,
	line_string,
	fallback, // "default"
	optional
};

enum class PipeArgument { none, text, unit, value };

struct PipeName {
	std::string_view name;
	Pipe pipe;
	PipeArgument argument = PipeArgument::none;
};

const std::vector<PipeName> &pipe_names();

// Text, or JSON text.
struct PipeValue {
	bool is_text = false;
	std::string text;
};

std::string plain(const PipeValue &value);
std::string as_json(const PipeValue &value);

// All but `fallback` and `optional`; the value is not null. Throws Unrenderable (bad_value) for what is no number or time.
PipeValue apply_pipe(Pipe pipe, const std::string &argument, PipeValue value);

// Microseconds since 1970 of an ISO 8601 date or timestamp; without a zone it is UTC.
std::optional<std::int64_t> iso_micros(std::string_view text);

} // namespace courier
