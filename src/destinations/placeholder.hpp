#pragma once

// Names inside {{ }}: what they mean, and their value for a record. Used by template.cpp only.

#include "destinations/template.hpp"

namespace courier {

// The placeholder for the text between the braces. Throws Error (42703 for an unknown field, 42601 for what is no name).
Placeholder parse_placeholder(std::string_view inside, const Scope &scope);

// Appends the JSON that a placeholder which stands alone in a body becomes. False: the record does not have it.
bool append_value(std::string &out, const Placeholder &placeholder, const RenderInput &input);
// The value as plain text, pipes applied. nullopt: null or absent.
std::optional<std::string> placeholder_text(const Placeholder &placeholder, const RenderInput &input);

// Where the "}}" of a placeholder that begins at `from` is; quoted text may hold braces. npos: nowhere.
std::size_t placeholder_end(std::string_view text, std::size_t from);
void visit_placeholder(const Placeholder &placeholder, const PlaceholderVisitor &visitor);

// True for ".", "..", also where written with %2e.
bool is_dot_segment(std::string_view segment);

} // namespace courier
