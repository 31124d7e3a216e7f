#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace courier {

// Reading and writing JSON as text. Record payloads are never parsed into a document: a numeric of 40 digits must leave as
// it came. These functions find slices of valid JSON text and build new text out of them.

// The raw slice of the value at `path` (member names; array positions as decimal text), or nullopt.
std::optional<std::string_view> json_find(std::string_view json, const std::vector<std::string> &path);
// RFC 6901 pointer to path. nullopt: not a pointer.
std::optional<std::vector<std::string>> json_pointer_path(std::string_view pointer);
// Members of an object / elements of an array, as raw slices, in order. Empty when it is not one.
std::vector<std::pair<std::string, std::string_view>> json_members(std::string_view object);
std::vector<std::string_view> json_elements(std::string_view array);

enum class JsonKind { null, boolean, number, string, array, object, invalid };
JsonKind json_kind(std::string_view value);
// The text a person would write: strings without quotes and unescaped, null as empty, anything else as it stands.
std::string json_plain(std::string_view value);
// Appends a JSON string literal, quotes included.
void json_append_string(std::string &out, std::string_view text);
std::string json_string(std::string_view text);
// True when the text is one valid JSON value (used on answers before they are trusted).
bool json_valid(std::string_view text);

} // namespace courier
