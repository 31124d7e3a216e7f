#include "core/json_text.hpp"

#include <cstdint>

#include "core/json_scanner.hpp"

// One scanner does all the work: it walks over a value, checks it completely (RFC 8259, UTF-8 included) and tells where it
// ends. Every function here is that walk with a little bookkeeping, so what one of them hands out is always a valid value.
//
// The text may come from a hostile server, so the walk neither recurses nor allocates, and its depth is bounded.

namespace courier {

namespace {

using namespace json_scan; // in this file only

constexpr std::string_view replacement = "\xEF\xBF\xBD"; // U+FFFD

void append_utf8(std::string &out, std::uint32_t code) {
	if (code < 0x80) {
		out += static_cast<char>(code);
	} else if (code < 0x800) {
		out += static_cast<char>(0xC0 | code >> 6);
		out += static_cast<char>(0x80 | (code & 0x3F));
	} else if (code < 0x10000) {
		out += static_cast<char>(0xE0 | code >> 12);
		out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
		out += static_cast<char>(0x80 | (code & 0x3F));
	} else {
		out += static_cast<char>(0xF0 | code >> 18);
		out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
		out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
		out += static_cast<char>(0x80 | (code & 0x3F));
	}
}

std::uint32_t hex4(std::string_view digits) {
	std::uint32_t code = 0;
	for (char c : digits)
		code = code << 4 | static_cast<std::uint32_t>(hex_digit(c));
	return code;
}

// The text of a valid string literal. What PostgreSQL's text cannot hold (U+0000) and what is no character (half of a
// surrogate pair) become U+FFFD, so that the result can be stored and sent anywhere.
std::string unescape(std::string_view literal) {
	std::string_view body = literal.substr(1, literal.size() - 2);
	std::string out;
	out.reserve(body.size());
	while (true) {
		auto slash = body.find('\\');
		out += body.substr(0, slash);
		if (slash == std::string_view::npos)
			return out;
		body.remove_prefix(slash);
		char c = body[1];
		if (c != 'u') {
			constexpr std::string_view letters = "bfnrt", meant = "\b\f\n\r\t";
			auto found = letters.find(c);
			out += found == std::string_view::npos ? c : meant[found];
			body.remove_prefix(2);
			continue;
		}
		std::uint32_t code = hex4(body.substr(2, 4));
		body.remove_prefix(6);
		if (code >= 0xD800 && code <= 0xDBFF && body.substr(0, 2) == "\\u") {
			std::uint32_t low = hex4(body.substr(2, 4));
			if (low >= 0xDC00 && low <= 0xDFFF) {
				code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
				body.remove_prefix(6);
			}
		}
		if (code == 0 || (code >= 0xD800 && code <= 0xDFFF))
			out += replacement;
		else
			append_utf8(out, code);
	}
}

// A literal's text equals `text`; the usual name has no escapes and is compared where it stands.
bool literal_is(std::string_view literal, std::string_view text) {
	std::string_view body = literal.substr(1, literal.size() - 2);
	if (body.find('\\') == std::string_view::npos)
		return body == text;
	return unescape(literal) == text;
}

// Calls `each(name literal, value)` for every member. False when the text is not an object.
template <typename Each> bool walk_object(std::string_view text, Each each) {
	Scanner scan(text);
	scan.space();
	if (!scan.accept('{'))
		return false;
	scan.space();
	if (!scan.accept('}')) {
		do {
			scan.space();
			auto name = scan.string();
			scan.space();
			if (!name || !scan.accept(':'))
				return false;
			auto value = scan.value();
			if (!value)
				return false;
			each(*name, *value);
			scan.space();
		} while (scan.accept(','));
		if (!scan.accept('}'))
			return false;
	}
	scan.space();
	return scan.done();
}

template <typename Each> bool walk_array(std::string_view text, Each each) {
	Scanner scan(text);
	scan.space();
	if (!scan.accept('['))
		return false;
	scan.space();
	if (!scan.accept(']')) {
		do {
			auto value = scan.value();
			if (!value)
				return false;
			each(*value);
			scan.space();
		} while (scan.accept(','));
		if (!scan.accept(']'))
			return false;
	}
	scan.space();
	return scan.done();
}

std::optional<std::size_t> array_position(std::string_view text) {
	if (text.empty() || text.size() > 9 || (text.size() > 1 && text[0] == '0'))
		return std::nullopt;
	std::size_t position = 0;
	for (char c : text) {
		if (!is_digit(c))
			return std::nullopt;
		position = position * 10 + static_cast<std::size_t>(c - '0');
	}
	return position;
}

std::string_view trim(std::string_view text) {
	while (!text.empty() && is_space(text.front()))
		text.remove_prefix(1);
	while (!text.empty() && is_space(text.back()))
		text.remove_suffix(1);
	return text;
}

bool is_whole_value(std::string_view text) {
	Scanner scan(text);
	return scan.value() && scan.done();
}

} // namespace

std::optional<std::string_view> json_find(std::string_view json, const std::vector<std::string> &path) {
	// Of members with the same name the last one counts, as in jsonb and in nearly every parser.
	std::string_view here = trim(json);
	if (path.empty() && !is_whole_value(here))
		return std::nullopt;
	for (const std::string &step : path) {
		std::optional<std::string_view> found;
		if (!here.empty() && here.front() == '{') {
			bool valid = walk_object(here, [&](std::string_view name, std::string_view value) {
				if (literal_is(name, step))
					found = value;
			});
			if (!valid)
				return std::nullopt;
		} else if (auto wanted = array_position(step)) {
			std::size_t position = 0;
			bool valid = walk_array(here, [&](std::string_view value) {
				if (position++ == *wanted)
					found = value;
			});
			if (!valid)
				return std::nullopt;
		}
		if (!found)
			return std::nullopt;
		here = *found;
	}
	return here;
}

std::optional<std::vector<std::string>> json_pointer_path(std::string_view pointer) {
	std::vector<std::string> path;
	if (pointer.empty())
		return path;
	if (pointer.front() != '/')
		return std::nullopt;
	for (std::size_t i = 0; i < pointer.size(); ++i) {
		if (pointer[i] == '/') {
			path.emplace_back();
		} else if (pointer[i] == '~') {
			if (++i == pointer.size() || (pointer[i] != '0' && pointer[i] != '1'))
				return std::nullopt;
			path.back() += pointer[i] == '0' ? '~' : '/';
		} else {
			path.back() += pointer[i];
		}
	}
	return path;
}

std::vector<std::pair<std::string, std::string_view>> json_members(std::string_view object) {
	std::vector<std::pair<std::string, std::string_view>> members;
	bool valid = walk_object(
	    object, [&](std::string_view name, std::string_view value) { members.emplace_back(unescape(name), value); });
	if (!valid)
		members.clear();
	return members;
}

std::vector<std::string_view> json_elements(std::string_view array) {
	std::vector<std::string_view> elements;
	if (!walk_array(array, [&](std::string_view value) { elements.push_back(value); }))
		elements.clear();
	return elements;
}

JsonKind json_kind(std::string_view value) {
	value = trim(value);
	if (value.empty())
		return JsonKind::invalid;
	// Containers are told by their ends only: walking over them at every look would cost too much.
	if (value.size() > 1 && value.front() == '{' && value.back() == '}')
		return JsonKind::object;
	if (value.size() > 1 && value.front() == '[' && value.back() == ']')
		return JsonKind::array;
	if (value.front() == '{' || value.front() == '[' || !is_whole_value(value))
		return JsonKind::invalid;
	switch (value.front()) {
	case '"':
		return JsonKind::string;
	case 't':
	case 'f':
		return JsonKind::boolean;
	case 'n':
		return JsonKind::null;
	default:
		return JsonKind::number;
	}
}

std::string json_plain(std::string_view value) {
	value = trim(value);
	if (value == "null")
		return {};
	if (!value.empty() && value.front() == '"' && is_whole_value(value))
		return unescape(value);
	return std::string(value);
}

void json_append_string(std::string &out, std::string_view text) {
	constexpr std::string_view hex = "0123456789abcdef";
	out += '"';
	const char *at = text.data(), *end = at + text.size(), *plain = at;
	auto flush = [&](std::size_t skip) {
		out.append(plain, at - plain);
		plain = at += skip;
	};
	while (at < end) {
		unsigned char c = static_cast<unsigned char>(*at);
		if (c >= 0x80) {
			// Bytes that are not UTF-8 (an answer in another encoding) must not make the document invalid.
			if (auto length = utf8_length(at, end)) {
				at += length;
			} else {
				flush(1);
				out += replacement;
			}
			continue;
		}
		if (c >= 0x20 && c != '"' && c != '\\') {
			++at;
			continue;
		}
		flush(1);
		out += '\\';
		switch (c) {
		case '"':
		case '\\':
			out += static_cast<char>(c);
			break;
		case '\b':
			out += 'b';
			break;
		case '\f':
			out += 'f';
			break;
		case '\n':
			out += 'n';
			break;
		case '\r':
			out += 'r';
			break;
		case '\t':
			out += 't';
			break;
		default:
			out += "u00";
			out += hex[c >> 4];
			out += hex[c & 15];
		}
	}
	flush(0);
	out += '"';
}

std::string json_string(std::string_view text) {
	std::string out;
	out.reserve(text.size() + 2);
	json_append_string(out, text);
	return out;
}

bool json_valid(std::string_view text) {
	return is_whole_value(trim(text));
}

} // namespace courier
