#pragma once

// What an answer means: the rules of a definition, first match wins, and after them the defaults of HTTP.

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "core/client.hpp"
#include "destinations/reader.hpp"

namespace courier {

// A JSON pointer as path. The segment "*" is the first member or element, whatever its name is: Elasticsearch answers
// {"index": {...}} or {"delete": {...}}.
using Pointer = std::vector<std::string>;

std::optional<std::string_view> find_at(std::string_view json, const Pointer &pointer);

// A `when`. Applied to an answer, or to one entry of an answer (then `status` and `header` match nothing).
struct Condition {
	std::vector<std::pair<int, int>> status; // ranges, both ends inside; empty: any
	std::optional<std::string> header;       // lower case
	std::optional<Pointer> pointer;
	bool body = false;
	std::optional<nlohmann::json> equals;
	std::shared_ptr<const std::regex> matches;
	std::optional<bool> exists;

	bool holds(const Answer &answer, bool valid_json) const;
	bool holds_for_entry(std::string_view entry) const;

private:
	bool test(const std::optional<std::string_view> &json, const std::optional<std::string> &plain) const;
};

struct Rule {
	Condition when;
	Verdict then = Verdict::rejected;
};

constexpr std::size_t pattern_input = 64 * 1024; // of a text, where patterns look
std::shared_ptr<const std::regex> read_pattern(const Reader &reader);
std::string lower_case(std::string text); // ASCII

Condition read_condition(const Reader &reader, bool for_entry);
std::vector<Rule> read_rules(const Reader &reader, bool for_entry);

// Where a request stood, as far as the defaults need it.
struct Asked {
	Operation operation = Operation::upsert;
	Change change = Change::added;
	bool can_change = false; // `changed` goes by another request than this one
	bool several = false;    // the request carries more than one record
};

Verdict default_verdict(const Answer &answer, const Asked &asked);
Verdict verdict_of(const std::vector<Rule> &rules, const Answer &answer, bool valid_json, const Asked &asked);

const std::string *find_header(const Answer &answer, std::string_view name);

} // namespace courier
