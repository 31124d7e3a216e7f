#include "http/redact.hpp"

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "core/json_text.hpp"
#include "core/xml_text.hpp"
#include "http/sign.hpp"
#include "http/url.hpp"

namespace courier::http {

namespace {

constexpr std::size_t short_value = 4;   // shorter: only where it stands alone
constexpr std::size_t inside_base64 = 6; // from here on also looked for inside longer base64 texts

std::string lower_case(std::string_view text) {
	std::string out(text);
	std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
	return out;
}

// How JSON writers escape differs: "/" or not, \u00e9 or the bytes, short names (\n) or \u000a.
std::string json_escape(std::string_view text, bool slash, bool short_names, bool upper_hex) {
	std::string out;
	for (unsigned char c : text) {
		constexpr std::string_view plain = "\b\f\n\r\t";
		constexpr std::string_view names = "bfnrt";
		if (c == '"' || c == '\\' || (slash && c == '/')) {
			out += '\\';
			out += static_cast<char>(c);
		} else if (auto at = plain.find(static_cast<char>(c)); at != std::string_view::npos && short_names) {
			out += '\\';
			out += names[at];
		} else if (c < 0x20) {
			char code[8];
			std::snprintf(code, sizeof code, upper_hex ? "\\u%04X" : "\\u%04x", c);
			out += code;
		} else {
			out += static_cast<char>(c);
		}
	}
	return out;
}

// All that is not ASCII as \uXXXX. Nothing when the text is not UTF-8.
std::string json_ascii(std::string_view text, bool upper_hex) {
	std::string out;
	auto unit = [&](unsigned value) {
		char code[8];
		std::snprintf(code, sizeof code, upper_hex ? "\\u%04X" : "\\u%04x", value & 0xffff);
		out += code;
	};
	for (std::size_t i = 0; i < text.size();) {
		auto c = static_cast<unsigned char>(text[i]);
		if (c < 0x80) {
			out += json_escape(text.substr(i, 1), false, true, upper_hex);
			++i;
			continue;
		}
		unsigned length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 0;
		if (length == 0 || i + length > text.size())
			return {};
		unsigned code = c & (0xff >> (length + 1));
		for (unsigned k = 1; k < length; ++k)
			code = code << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3f);
		if (code >= 0x10000) {
			unit(0xd800 + ((code - 0x10000) >> 10));
			unit(0xdc00 + ((code - 0x10000) & 0x3ff));
		} else {
			unit(code);
		}
		i += length;
	}
	return out;
}

// Percent-encoded with only reserved characters escaped, as a browser or a lenient server would write it back.
std::string percent_lenient(std::string_view text, bool plus) {
	constexpr std::string_view kept = "!*'();:@$,/?[]";
	std::string out;
	for (char c : text)
		if (c == ' ' && plus)
			out += '+';
		else if (kept.find(c) != std::string_view::npos && !plus)
			out += c;
		else
			out += percent_encode(std::string_view(&c, 1));
	return out;
}

std::string lower_percent(std::string text) {
	for (std::size_t i = 0; i + 2 < text.size(); ++i)
		if (text[i] == '%')
			for (std::size_t k = i + 1; k <= i + 2; ++k)
				text[k] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[k])));
	return text;
}

std::string url_alphabet(std::string text) {
	std::replace(text.begin(), text.end(), '+', '-');
	std::replace(text.begin(), text.end(), '/', '_');
	return text;
}

std::string without_padding(std::string text) {
	text.erase(text.find_last_not_of('=') + 1);
	return text;
}

// The characters that stand for `value` alone when it begins `offset` bytes (0 to 2) into a group of three.
std::string base64_inside(std::string_view value, std::size_t offset) {
	auto text = base64(std::string(offset, '\0') + std::string(value));
	std::size_t first = offset == 0 ? 0 : offset + 1;   // the character at the edge holds bits of the neighbour
	std::size_t last = (offset + value.size()) * 8 / 6; // whole characters only
	return last > first ? text.substr(first, last - first) : std::string();
}

constexpr bool ends_value(char c) {
	return c == '&' || c == ' ' || c == '"' || c == '\'' || c == '\n' || c == '\r' || c == '\t' || c == '#' || c == ';';
}

// Headers that carry credentials whatever the destination calls its secret.
bool is_credential(const std::string &name) {
	static constexpr std::string_view exact[] = {"authorization",        "proxy-authorization", "cookie",
	                                             "set-cookie",           "x-api-key",           "x-auth-key",
	                                             "x-amz-security-token", "authentication-info", "www-authenticate-info",
	                                             "x-parse-rest-api-key", "x-parse-master-key"};
	if (std::find(std::begin(exact), std::end(exact), name) != std::end(exact))
		return true;
	auto has = [&](std::string_view part) { return name.find(part) != std::string::npos; };
	if (has("ratelimit") || has("rate-limit") || has("idempotency"))
		return false;
	return has("token") || has("secret") || has("password") || has("api-key") || has("apikey") ||
	       has("authorization") || has("credential") || has("access-key") || has("private-key");
}

} // namespace

void Redactor::add(Form form) {
	if (form.text.empty())
		return;
	auto &bucket = forms_[static_cast<unsigned char>(form.text[0])];
	for (auto &other : bucket)
		if (other.text == form.text)
			return;
	auto place = std::find_if(bucket.begin(), bucket.end(),
	                          [&](const Form &other) { return other.text.size() < form.text.size(); });
	bucket.insert(place, std::move(form));
	empty_ = false;
}

void Redactor::add_form(std::string form) {
	add(Form {.text = std::move(form)});
}

void Redactor::add_short(std::string_view value) {
	short_values_.emplace_back(value);
	for (bool slash : {false, true}) {
		auto quoted = '"' + json_escape(value, slash, true, false) + '"';
		add(Form {.text = quoted, .keep_before = 1, .keep_after = 1});
	}
	for (auto &encoded : {std::string(value), percent_encode(value), percent_lenient(value, true)})
		add(Form {.text = '=' + encoded, .keep_before = 1, .at_end_or_separator = true});
}

void Redactor::add_secret(std::string_view value) {
	if (value.empty())
		return;
	if (value.size() < short_value) {
		add_short(value);
		return;
	}
	add_form(std::string(value));

	// JSON, and JSON inside a JSON string.
	for (bool slash : {false, true})
		for (bool short_names : {true, false}) {
			auto once = json_escape(value, slash, short_names, false);
			add_form(json_escape(once, false, true, false));
			add_form(once);
			add_form(json_escape(value, slash, short_names, true));
		}
	for (bool upper : {false, true})
		add_form(json_ascii(value, upper));
	// As we write it: bytes that are not UTF-8 (a secret out of the environment) are other characters then.
	auto ours = json_string(value);
	add_form(ours.substr(1, ours.size() - 2));
	add_form(xml_escape(value));

	for (auto &encoded : {percent_encode(value), percent_lenient(value, true), percent_lenient(value, false)}) {
		add_form(encoded);
		add_form(lower_percent(encoded));
	}

	auto whole = base64(value);
	for (auto &encoded : {whole, without_padding(whole)}) {
		add_form(encoded);
		add_form(url_alphabet(encoded));
		add_form(percent_encode(encoded));
	}
	if (value.size() >= inside_base64)
		for (std::size_t offset = 0; offset < 3; ++offset) {
			auto piece = base64_inside(value, offset);
			add_form(piece);
			add_form(url_alphabet(piece));
		}

	auto digits = hex(value);
	add_form(digits);
	std::transform(digits.begin(), digits.end(), digits.begin(), [](unsigned char c) { return std::toupper(c); });
	add_form(digits);
}

void Redactor::add_basic(std::string_view user, std::string_view password) {
	add_secret(password);
	auto whole = base64(std::string(user) + ':' + std::string(password));
	for (auto &encoded : {whole, without_padding(whole)}) {
		add_form(encoded);
		add_form(url_alphabet(encoded));
		add_form(percent_encode(encoded));
	}
}

void Redactor::add_header(std::string_view name) {
	headers_.push_back(lower_case(name));
}

std::string Redactor::redact(std::string text) const {
	if (empty_)
		return text;
	std::string out;
	std::size_t copied = 0; // text before this place is in `out`
	bool found_any = false;
	for (std::size_t at = 0; at < text.size();) {
		const Form *found = nullptr;
		for (auto &form : forms_[static_cast<unsigned char>(text[at])]) {
			if (text.compare(at, form.text.size(), form.text) != 0)
				continue;
			std::size_t end = at + form.text.size();
			if (form.at_end_or_separator && end < text.size() && !ends_value(text[end]))
				continue;
			found = &form;
			break;
		}
		if (!found) {
			++at;
			continue;
		}
		found_any = true;
		std::size_t end = at + found->text.size();
		out.append(text, copied, at + found->keep_before - copied);
		out.append(mark);
		copied = end - found->keep_after;
		at = end; // the quote that ended one string does not begin another
	}
	if (!found_any)
		return text;
	out.append(text, copied, std::string::npos);
	return out;
}

std::string Redactor::redact_header(std::string_view name, std::string_view value) const {
	auto lower = lower_case(name);
	if (is_credential(lower) || std::find(headers_.begin(), headers_.end(), lower) != headers_.end() ||
	    std::find(short_values_.begin(), short_values_.end(), value) != short_values_.end())
		return std::string(mark);
	return redact(std::string(value));
}

} // namespace courier::http
