#include "destinations/pipes.hpp"

#include <chrono>

#include "core/json_text.hpp"
#include "core/xml_text.hpp"
#include "destinations/template.hpp"
#include "http/sign.hpp"
#include "http/url.hpp"

namespace courier {

namespace {

std::string_view trimmed(std::string_view text) {
	while (!text.empty() && static_cast<unsigned char>(text.front()) <= ' ')
		text.remove_prefix(1);
	while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ')
		text.remove_suffix(1);
	return text;
}

std::string escape(const std::string &text, std::string_view special) {
	std::string out;
	for (char c : text) {
		if (special.find(c) != std::string_view::npos)
			out += '\\';
		out += c;
	}
	return out;
}

// Line protocol has no way to write a line break in a name or a tag.
std::string line_escape(const std::string &text, std::string_view special) {
	if (text.find_first_of("\r\n") != std::string::npos)
		throw Unrenderable {"bad_value", "a measurement or tag of a line may not have line breaks"};
	return escape(text, special);
}

// A name-based UUID (RFC 9562, version 5) in the namespace for URLs: the same text gives the same UUID everywhere.
std::string uuid5(const std::string &text) {
	static constexpr char names[] = "\x6b\xa7\xb8\x11\x9d\xad\x11\xd1\x80\xb4\x00\xc0\x4f\xd4\x30\xc8";
	std::string bytes = http::digest(http::Hash::sha1, std::string(names, 16) + text).substr(0, 16);
	bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x50);
	bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
	std::string hex = http::hex(bytes);
	for (std::size_t at : {20, 16, 12, 8})
		hex.insert(at, 1, '-');
	return hex;
}

// So many digits of a date, and nothing else.
bool number_at(std::string_view &text, std::size_t digits, int &out) {
	if (text.size() < digits)
		return false;
	out = 0;
	for (std::size_t i = 0; i < digits; ++i) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		out = out * 10 + (text[i] - '0');
	}
	text.remove_prefix(digits);
	return true;
}

bool accept(std::string_view &text, char c) {
	if (text.empty() || text.front() != c)
		return false;
	text.remove_prefix(1);
	return true;
}

std::string epoch(const std::string &text, const std::string &unit) {
	auto micros = iso_micros(text);
	if (!micros)
		throw Unrenderable {"bad_value", "\"" + text + "\" is not an ISO 8601 timestamp"};
	std::int64_t divisor = unit == "us" ? 1 : unit == "ms" ? 1000 : 1'000'000;
	// Toward the past, also before 1970: a time is never said to be later than it was.
	std::int64_t value = *micros / divisor;
	if (*micros % divisor < 0)
		--value;
	return std::to_string(value);
}

// {"a": 1.50, "b": null} as {"a": "1.50", "b": ""}: for those that know nothing but text, and clear what is empty.
std::string members_as_texts(std::string_view object) {
	std::string out = "{";
	for (auto &[name, value] : json_members(object)) {
		if (out.size() > 1)
			out += ',';
		json_append_string(out, name);
		out += ':';
		out += json_string(json_plain(value));
	}
	return out + "}";
}

} // namespace

const std::vector<PipeName> &pipe_names() {
	static const std::vector<PipeName> names {
	    {"text", Pipe::text},
	    {"string", Pipe::text},
	    {"number", Pipe::number},
	    {"json_text", Pipe::json_text},
	    {"lower", Pipe::lower},
	    {"upper", Pipe::upper},
	    {"trim", Pipe::trim},
	    {"digits", Pipe::digits},
	    {"base64", Pipe::base64},
	    {"sha256", Pipe::sha256},
	    {"md5", Pipe::md5},
	    {"uuid", Pipe::uuid},
	    {"url", Pipe::url},
	    {"xml", Pipe::xml},
	    {"epoch", Pipe::epoch, PipeArgument::unit},
	    {"join", Pipe::join, PipeArgument::text},
	    {"texts", Pipe::texts},
	    {"prefix", Pipe::prefix, PipeArgument::text},
	    {"suffix", Pipe::suffix, PipeArgument::text},
	    {"line_measurement", Pipe::line_measurement},
	    {"line_tag", Pipe::line_tag},
	    {"line_string", Pipe::line_string},
	    {"default", Pipe::fallback, PipeArgument::value},
	    {"optional", Pipe::optional},
	};
	return names;
}

std::string plain(const PipeValue &value) {
	return value.is_text ? value.text : json_plain(value.text);
}

std::string as_json(const PipeValue &value) {
	return value.is_text ? json_string(value.text) : value.text;
}

PipeValue apply_pipe(Pipe pipe, const std::string &argument, PipeValue value) {
	if (pipe == Pipe::json_text)
		return {true, as_json(value)};
	if (pipe == Pipe::join) {
		if (value.is_text || json_kind(value.text) != JsonKind::array)
			return {true, plain(value)};
		std::string out;
		bool first = true;
		for (auto element : json_elements(value.text)) {
			if (!first)
				out += argument;
			first = false;
			out += json_plain(element);
		}
		return {true, out};
	}
	if (pipe == Pipe::texts && !value.is_text && json_kind(value.text) == JsonKind::object)
		return {false, members_as_texts(value.text)};
	std::string text = plain(value);
	switch (pipe) {
	case Pipe::number: {
		std::string number(trimmed(text));
		if (json_kind(number) != JsonKind::number)
			throw Unrenderable {"bad_value", "\"" + text + "\" is not a number"};
		return {false, number};
	}
	case Pipe::epoch:
		return {false, epoch(text, argument)};
	case Pipe::lower: // ASCII: what vendors ask of keys and e-mail addresses; other letters are lower-cased in SQL
		for (char &c : text)
			c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
		break;
	case Pipe::upper:
		for (char &c : text)
			c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
		break;
	case Pipe::trim:
		text = std::string(trimmed(text));
		break;
	case Pipe::digits:
		std::erase_if(text, [](char c) { return c < '0' || c > '9'; });
		break;
	case Pipe::base64:
		text = http::base64(text);
		break;
	case Pipe::sha256:
		text = http::sha256_hex(text);
		break;
	case Pipe::md5:
		text = http::hex(http::digest(http::Hash::md5, text));
		break;
	case Pipe::uuid:
		text = uuid5(text);
		break;
	case Pipe::url:
		text = http::percent_encode(text);
		break;
	case Pipe::xml:
		text = xml_escape(text);
		break;
	case Pipe::prefix:
		text.insert(0, argument);
		break;
	case Pipe::suffix:
		text += argument;
		break;
	case Pipe::line_measurement:
		text = line_escape(text, ", ");
		break;
	case Pipe::line_tag:
		text = line_escape(text, ",= ");
		break;
	case Pipe::line_string:
		text = "\"" + escape(text, "\"\\") + "\"";
		break;
	case Pipe::text:
	case Pipe::json_text:
	case Pipe::join:
	case Pipe::texts:
	case Pipe::fallback:
	case Pipe::optional:
		break;
	}
	return {true, std::move(text)};
}

std::optional<std::int64_t> iso_micros(std::string_view text) {
	text = trimmed(text);
	int year, month, day, hour = 0, minute = 0, second = 0, micros = 0, offset = 0;
	if (!number_at(text, 4, year) || !accept(text, '-') || !number_at(text, 2, month) || !accept(text, '-') ||
	    !number_at(text, 2, day))
		return std::nullopt;
	if (accept(text, 'T') || accept(text, ' ')) {
		if (!number_at(text, 2, hour) || !accept(text, ':') || !number_at(text, 2, minute))
			return std::nullopt;
		if (accept(text, ':')) {
			if (!number_at(text, 2, second))
				return std::nullopt;
			if (accept(text, '.') || accept(text, ',')) {
				int scale = 100'000, digit = 0;
				if (!number_at(text, 1, digit))
					return std::nullopt;
				do {
					micros += digit * scale;
					scale /= 10;
				} while (number_at(text, 1, digit));
			}
		}
		bool east = !text.empty() && text.front() == '+';
		if (!accept(text, 'Z') && (accept(text, '+') || accept(text, '-'))) {
			int hours, minutes = 0;
			if (!number_at(text, 2, hours))
				return std::nullopt;
			accept(text, ':');
			if (!text.empty() && !number_at(text, 2, minutes))
				return std::nullopt;
			offset = (hours * 60 + minutes) * (east ? 1 : -1);
		}
	}
	std::chrono::year_month_day date {std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
	                                  std::chrono::day(static_cast<unsigned>(day))};
	if (!text.empty() || !date.ok() || hour > 24 || minute > 59 || second > 60)
		return std::nullopt;
	std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
	return (((days * 24 + hour) * 60 + minute - offset) * 60 + second) * 1'000'000 + micros;
}

} // namespace courier
