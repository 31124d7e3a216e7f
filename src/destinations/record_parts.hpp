#pragma once

// Pieces of a record's JSON text, cut without parsing a value: order, nesting and digits stay.

#include <string>
#include <string_view>
#include <vector>

namespace courier {

std::vector<std::string> split_dots(std::string_view name); // "address.city"

// Appends the object without the members at these paths. What is left empty by that goes too.
void append_rest(std::string &out, std::string_view object, const std::vector<std::vector<std::string>> &paths);

// The member names of an object, in order; and of several, in the order in which they are met first.
void add_columns(std::vector<std::string> &columns, std::string_view object);

// The values of these members as an array; null for one that the object does not have.
void append_values(std::string &out, std::string_view object, const std::vector<std::string> &columns);

} // namespace courier
