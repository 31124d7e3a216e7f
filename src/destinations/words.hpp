#pragma once

// Where a word of an answer stands: at a JSON pointer, in a header, or in its text.

#include <memory>
#include <optional>
#include <regex>
#include <string>

#include "destinations/rules.hpp"

namespace courier {

struct Words {
	std::optional<Pointer> pointer;
	std::optional<std::string> header; // lower case; neither this nor a pointer: the text of the body
	std::shared_ptr<const std::regex> matches; // the first group that took part, or all that it matches

	std::string from(const Answer &answer, bool valid_json) const; // empty: not there
};

// A pointer, or {"pointer" | "header" | "body": true, "matches": "..."}.
Words read_words(const Reader &reader);

} // namespace courier
