#include "destinations/csv_text.hpp"

namespace courier {

void append_csv_cell(std::string &out, std::string_view text) {
	// A mark at the beginning of a file is taken for one, although it is the first character of a value; quoted it is not at the beginning.
	const bool edge = !text.empty() && (text.front() == ' ' || text.back() == ' ' || text.starts_with("\xEF\xBB\xBF"));
	if (!edge && text.find_first_of(",\"\r\n") == std::string_view::npos) {
		out += text;
		return;
	}
	out += '"';
	for (char c : text) {
		if (c == '"')
			out += '"';
		out += c;
	}
	out += '"';
}

std::optional<std::vector<std::vector<std::string>>> read_csv(std::string_view text) {
	std::vector<std::vector<std::string>> rows;
	std::vector<std::string> row(1);
	bool quoted = false, begun = false; // begun: the row has something in it
	if (text.starts_with("\xEF\xBB\xBF"))
		text.remove_prefix(3);
	for (std::size_t i = 0; i < text.size(); ++i) {
		const char c = text[i];
		if (quoted) {
			if (c != '"')
				row.back() += c;
			else if (i + 1 < text.size() && text[i + 1] == '"')
				row.back() += text[++i];
			else
				quoted = false;
			continue;
		}
		if (c == '\n' || c == '\r') {
			if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n')
				++i;
			if (begun)
				rows.push_back(std::move(row));
			row.assign(1, {});
			begun = false;
			continue;
		}
		begun = true;
		if (c == '"' && row.back().empty())
			quoted = true;
		else if (c == ',')
			row.emplace_back();
		else
			row.back() += c;
	}
	if (quoted)
		return std::nullopt;
	if (begun)
		rows.push_back(std::move(row));
	return rows;
}

} // namespace courier
