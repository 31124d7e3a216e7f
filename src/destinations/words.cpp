#include "destinations/words.hpp"

#include "core/json_text.hpp"

namespace courier {

std::string Words::from(const Answer &answer, bool valid_json) const {
	std::string text;
	if (pointer) {
		auto found = valid_json ? find_at(answer.body, *pointer) : std::nullopt;
		text = found ? json_plain(*found) : std::string();
	} else if (header) {
		auto found = find_header(answer, *header);
		text = found ? *found : std::string();
	} else {
		text = answer.body;
	}
	if (!matches)
		return text;
	text.resize(std::min(text.size(), pattern_input));
	std::smatch match;
	if (!std::regex_search(text, match, *matches))
		return {};
	for (std::size_t group = 1; group < match.size(); ++group)
		if (match[group].matched)
			return match[group].str();
	return match[0].str();
}

Words read_words(const Reader &reader) {
	Words words;
	if (reader.json().is_string()) {
		words.pointer = json_pointer_path(reader.pointer());
		return words;
	}
	reader.only_keys({"pointer", "header", "body", "matches"});
	if (reader.has("pointer"))
		words.pointer = json_pointer_path(reader.at("pointer").pointer());
	if (reader.has("header"))
		words.header = lower_case(reader.at("header").text());
	bool body = reader.boolean_or("body", false);
	if (reader.has("matches"))
		words.matches = read_pattern(reader.at("matches"));
	if (words.pointer.has_value() + words.header.has_value() + body != 1)
		reader.fail("must name one of pointer, header and body", {},
		            R"(For example {"body": true, "matches": "^([a-z_]+)$"}.)");
	return words;
}

} // namespace courier
