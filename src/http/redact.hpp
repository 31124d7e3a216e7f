#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace courier::http {

// Takes secrets out of everything that is stored or shown.
//
// A secret may come back in other clothes: base64 (alone, or inside a longer text such as "user:secret"),
// percent-encoded in a URL, escaped in JSON (also in JSON within JSON) or XML, in hexadecimal. Each of these forms is
// looked for, in one pass, the longest first, so that no part of a secret stays when one secret is the start of
// another.
//
// A secret of less than 4 bytes would turn any text into confetti ("a" as an API key), and whoever picks it has no
// secret. It is replaced only where it stands alone: as a whole JSON string ("abc"), a whole value of a form or query
// (=abc& or =abc at the end), or a whole header value. A secret inside a longer base64 text is found from 6 bytes on;
// the characters at its edges, which it shares with its neighbours, stay. add_basic() leaves nothing of the usual
// case.
class Redactor {
public:
	static constexpr std::string_view mark = "[secret]";

	void add_secret(std::string_view value);                          // an empty value is ignored
	void add_basic(std::string_view user, std::string_view password); // as HTTP Basic authentication encodes them
	void add_header(std::string_view name);                           // a header whose value is always a secret

	std::string redact(std::string text) const;
	// The value to show: the mark for headers that carry credentials by their name, otherwise redact(value).
	std::string redact_header(std::string_view name, std::string_view value) const;

private:
	void add_form(std::string form);
	void add_short(std::string_view value);

	struct Form {
		std::string text;
		std::size_t keep_before = 0, keep_after = 0; // bytes of `text` that are context, not secret
		bool at_end_or_separator = false;            // counts only before "&", a blank, a quote or the end
	};
	std::array<std::vector<Form>, 256> forms_; // by first byte, longest first
	std::vector<std::string> short_values_;
	std::vector<std::string> headers_;
	bool empty_ = true;
	void add(Form form);
};

} // namespace courier::http
