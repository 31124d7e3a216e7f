#include "core/xml_text.hpp"

namespace courier {

std::string xml_escape(std::string_view text) {
	std::string out;
	for (char c : text)
		switch (c) {
		case '&':
			out += "&amp;";
			break;
		case '<':
			out += "&lt;";
			break;
		case '>':
			out += "&gt;";
			break;
		case '"':
			out += "&quot;";
			break;
		case '\'':
			out += "&apos;";
			break;
		default:
			out += c;
		}
	return out;
}

} // namespace courier
