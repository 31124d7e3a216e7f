#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace courier {

// The XML of an answer as JSON, so that pointers reach into it: <Error><Code>x</Code></Error> is {"Error":{"Code":"x"}}.
// Elements that repeat are an array, an element with text alone is a string, prefixes, attributes, comments and
// instructions are left out. No document type is read, so no entity can be declared. nullopt: not well-formed.
std::optional<std::string> xml_to_json(std::string_view xml);

} // namespace courier
