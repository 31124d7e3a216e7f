#include "destinations/record_parts.hpp"

#include <algorithm>

#include "core/json_text.hpp"

namespace courier {

namespace {

using Paths = std::vector<std::vector<std::string>>;

// True when something was left.
bool append_without(std::string &out, std::string_view object, const Paths &paths) {
	out += '{';
	bool first = true;
	for (auto &[name, value] : json_members(object)) {
		Paths below;
		bool gone = false;
		for (auto &path : paths) {
			if (path.empty() || path[0] != name)
				continue;
			gone = gone || path.size() == 1;
			below.emplace_back(path.begin() + 1, path.end());
		}
		if (gone)
			continue;
		std::size_t before = out.size();
		if (!first)
			out += ',';
		json_append_string(out, name);
		out += ':';
		if (below.empty() || json_kind(value) != JsonKind::object) {
			out += value;
		} else if (!append_without(out, value, below)) {
			out.resize(before);
			continue;
		}
		first = false;
	}
	out += '}';
	return !first;
}

} // namespace

std::vector<std::string> split_dots(std::string_view name) {
	std::vector<std::string> path;
	std::size_t start = 0;
	for (std::size_t dot; (dot = name.find('.', start)) != std::string_view::npos; start = dot + 1)
		path.emplace_back(name.substr(start, dot - start));
	path.emplace_back(name.substr(start));
	return path;
}

void append_rest(std::string &out, std::string_view object, const Paths &paths) {
	append_without(out, object, paths);
}

void add_columns(std::vector<std::string> &columns, std::string_view object) {
	for (auto &[name, value] : json_members(object))
		if (std::find(columns.begin(), columns.end(), name) == columns.end())
			columns.push_back(name);
}

void append_values(std::string &out, std::string_view object, const std::vector<std::string> &columns) {
	auto members = json_members(object);
	out += '[';
	for (std::size_t i = 0; i < columns.size(); ++i) {
		if (i > 0)
			out += ',';
		auto found = std::find_if(members.begin(), members.end(), [&](auto &member) { return member.first == columns[i]; });
		out += found == members.end() ? std::string_view("null") : found->second;
	}
	out += ']';
}

} // namespace courier
