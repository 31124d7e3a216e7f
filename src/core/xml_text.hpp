#pragma once

#include <string>
#include <string_view>

namespace courier {

// Text as it stands in XML, in content and in attributes.
std::string xml_escape(std::string_view text);

} // namespace courier
