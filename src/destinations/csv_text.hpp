#pragma once

// CSV as RFC 4180 has it: commas, double quotes where they are needed, a header line first.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace courier {

void append_csv_cell(std::string &out, std::string_view text);

// Rows of cells; the first one is the header. nullopt: a quote is not closed.
std::optional<std::vector<std::vector<std::string>>> read_csv(std::string_view text);

} // namespace courier
