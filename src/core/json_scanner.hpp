#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// The walk over JSON text that json_text.cpp is made of; nobody else needs it.

namespace courier::json_scan {

inline constexpr std::size_t max_depth = 512;

inline bool is_space(char c) {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

inline bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

inline int hex_digit(char c) {
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

// Length of the UTF-8 sequence at `at`, or 0: overlong forms, surrogates and what lies over U+10FFFF are not UTF-8.
inline std::size_t utf8_length(const char *at, const char *end) {
	auto byte = [&](std::size_t i) { return static_cast<unsigned char>(at[i]); };
	auto within = [&](std::size_t i, unsigned char low, unsigned char high) {
		return at + i < end && byte(i) >= low && byte(i) <= high;
	};
	unsigned char lead = byte(0);
	if (lead < 0x80)
		return 1;
	if (lead >= 0xC2 && lead <= 0xDF)
		return within(1, 0x80, 0xBF) ? 2 : 0;
	if (lead >= 0xE0 && lead <= 0xEF) {
		unsigned char low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
		return within(1, low, high) && within(2, 0x80, 0xBF) ? 3 : 0;
	}
	if (lead >= 0xF0 && lead <= 0xF4) {
		unsigned char low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
		return within(1, low, high) && within(2, 0x80, 0xBF) && within(3, 0x80, 0xBF) ? 4 : 0;
	}
	return 0;
}

// Walks over values and checks them completely (RFC 8259, UTF-8 included). It does not recurse: what is open is a bit per
// level, and text that is nested deeper than max_depth counts as invalid. Nothing is allocated.
class Scanner {
public:
	explicit Scanner(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

	void space() {
		while (at_ < end_ && is_space(*at_))
			++at_;
	}

	bool done() const { return at_ == end_; }

	bool accept(char c) {
		if (at_ == end_ || *at_ != c)
			return false;
		++at_;
		return true;
	}

	// Over a string with its quotes; the slice with them.
	std::optional<std::string_view> string() {
		const char *start = at_;
		if (!skip_string())
			return std::nullopt;
		return std::string_view(start, at_ - start);
	}

	// Over white space and one value; the value without the space.
	std::optional<std::string_view> value() {
		space();
		const char *start = at_;
		if (!skip_value())
			return std::nullopt;
		return std::string_view(start, at_ - start);
	}

private:
	const char *at_;
	const char *end_;

	bool skip_string() {
		if (!accept('"'))
			return false;
		while (at_ < end_) {
			unsigned char c = static_cast<unsigned char>(*at_);
			if (c == '"') {
				++at_;
				return true;
			}
			if (c < 0x20)
				return false;
			if (c == '\\') {
				if (!skip_escape())
					return false;
			} else if (c < 0x80) {
				++at_;
			} else if (auto length = utf8_length(at_, end_)) {
				at_ += length;
			} else {
				return false;
			}
		}
		return false;
	}

	bool skip_escape() {
		if (end_ - at_ < 2)
			return false;
		char c = at_[1];
		if (c != 'u') {
			at_ += 2;
			return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
		}
		if (end_ - at_ < 6)
			return false;
		for (int i = 2; i < 6; ++i)
			if (hex_digit(at_[i]) < 0)
				return false;
		at_ += 6;
		return true;
	}

	bool skip_digits() {
		const char *start = at_;
		while (at_ < end_ && is_digit(*at_))
			++at_;
		return at_ > start;
	}

	bool skip_number() {
		accept('-');
		if (!accept('0') && !skip_digits())
			return false;
		if (accept('.') && !skip_digits())
			return false;
		if (accept('e') || accept('E')) {
			if (!accept('+'))
				accept('-');
			return skip_digits();
		}
		return true;
	}

	bool skip_word(std::string_view word) {
		if (std::string_view(at_, end_ - at_).substr(0, word.size()) != word)
			return false;
		at_ += word.size();
		return true;
	}

	bool skip_scalar() {
		switch (*at_) {
		case '"':
			return skip_string();
		case 't':
			return skip_word("true");
		case 'f':
			return skip_word("false");
		case 'n':
			return skip_word("null");
		default:
			return skip_number();
		}
	}

	bool skip_name() {
		space();
		if (!skip_string())
			return false;
		space();
		return accept(':');
	}

	bool skip_value() {
		std::bitset<max_depth> is_object;
		std::size_t depth = 0;
		while (true) {
			space();
			if (done())
				return false;
			if (*at_ == '{' || *at_ == '[') {
				bool object = *at_ == '{';
				if (depth == max_depth)
					return false;
				++at_;
				space();
				if (!accept(object ? '}' : ']')) {
					is_object[depth++] = object;
					if (object && !skip_name())
						return false;
					continue;
				}
			} else if (!skip_scalar()) {
				return false;
			}
			// A value has ended, and perhaps what holds it.
			bool more = false;
			while (depth > 0 && !more) {
				space();
				bool object = is_object[depth - 1];
				if (accept(object ? '}' : ']'))
					--depth;
				else if (accept(','))
					more = true;
				else
					return false;
				if (more && object && !skip_name())
					return false;
			}
			if (!more)
				return true;
		}
	}
};

} // namespace courier::json_scan
