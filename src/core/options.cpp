#include "core/options.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>
#include <regex>

#include "core/duration.hpp"
#include "core/error.hpp"

namespace courier {

namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// One option as it was given.
struct Given {
	std::string_view key;
	const json &value;
};

[[noreturn]] void refuse(const Given &given, const std::string &allowed, const std::string &hint = {}) {
	std::string shown = given.value.dump(-1, ' ', false, json::error_handler_t::replace);
	if (shown.size() > 200)
		shown = "this value";
	throw Error("22023", "option \"" + std::string(given.key) + "\": " + shown + " is not allowed",
	            "\"" + std::string(given.key) + "\" is " + allowed + ".", hint);
}

std::string setting_name(std::string_view key) {
	return "option \"" + std::string(key) + "\"";
}

// jsonb keeps 100.0 as it was written; that is still a whole number.
std::optional<std::int64_t> whole_number(const json &value) {
	if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max())
		return std::nullopt;
	if (value.is_number_integer())
		return value.get<std::int64_t>();
	if (value.is_number_float()) {
		double number = value.get<double>();
		if (number == std::floor(number) && std::abs(number) < 1e15)
			return static_cast<std::int64_t>(number);
	}
	return std::nullopt;
}

int read_whole(const Given &given, int low, int high) {
	auto number = whole_number(given.value);
	if (!number || *number < low || *number > high)
		refuse(given, "a whole number from " + std::to_string(low) + " to " + std::to_string(high),
		       given.value.is_string() ? "Write the number without quotes." : "");
	return static_cast<int>(*number);
}

bool read_boolean(const Given &given) {
	if (!given.value.is_boolean())
		refuse(given, "true or false", given.value.is_string() ? "Write true or false without quotes." : "");
	return given.value.get<bool>();
}

milliseconds read_interval(const Given &given, milliseconds low, milliseconds high) {
	std::string allowed = "an interval as text, from \"" + duration_text(low) + "\" to \"" + duration_text(high) + "\"";
	if (!given.value.is_string())
		refuse(given, allowed,
		       given.value.is_number() ? "Name the unit, for example \"" + given.value.dump() + " s\"." : "");
	milliseconds duration = parse_duration(given.value.get_ref<const std::string &>(), setting_name(given.key));
	if (duration < low || duration > high)
		refuse(given, allowed);
	return duration;
}

// Kept as text: PostgreSQL subtracts it from its clock, where a month is a month.
std::string read_calendar_interval(const Given &given) {
	std::string allowed = "an interval as text, longer than zero, such as \"30 days\" or \"1 year\"";
	if (!given.value.is_string())
		refuse(given, allowed,
		       given.value.is_number() ? "Name the unit, for example \"" + given.value.dump() + " days\"." : "");
	const std::string &text = given.value.get_ref<const std::string &>();
	if (parse_duration(text, setting_name(given.key), Calendar::allowed) <= milliseconds(0))
		refuse(given, allowed);
	return text;
}

// "20%" or "12.5%" as 0.2 and 0.125; digits as a count.
std::optional<Threshold> threshold_from_text(std::string_view text) {
	bool percent = !text.empty() && text.back() == '%';
	if (percent)
		text.remove_suffix(1);
	while (percent && !text.empty() && text.back() == ' ')
		text.remove_suffix(1);
	double number = 0, place = 1;
	bool point = false;
	if (text.empty() || text.size() > 15 || text.front() == '.' || text.back() == '.')
		return std::nullopt;
	for (char c : text) {
		if (c == '.' && percent && !point) {
			point = true;
			continue;
		}
		if (c < '0' || c > '9')
			return std::nullopt;
		number = number * 10 + (c - '0');
		place *= point ? 10 : 1;
	}
	if (!percent)
		return Threshold {{}, static_cast<std::uint64_t>(number)};
	if (number > 100 * place)
		return std::nullopt;
	return Threshold {number / place / 100, {}};
}

Threshold read_threshold(const Given &given) {
	std::optional<Threshold> threshold;
	if (given.value.is_string())
		threshold = threshold_from_text(given.value.get_ref<const std::string &>());
	else if (auto count = whole_number(given.value); count && *count >= 0)
		threshold = Threshold {{}, static_cast<std::uint64_t>(*count)};
	if (!threshold)
		refuse(given, "a count of 0 or more, or a share from \"0%\" to \"100%\"",
		       "Write a number, such as 500, or a text with a percent sign, such as \"20%\".");
	return *threshold;
}

template <typename Value> struct Word {
	std::string_view name;
	Value value;
};

template <typename Value, std::size_t count>
Value read_word(const Given &given, const std::array<Word<Value>, count> &words) {
	std::string allowed = "one of ";
	std::vector<std::string_view> names;
	for (const auto &word : words) {
		if (given.value.is_string() && given.value.get_ref<const std::string &>() == word.name)
			return word.value;
		allowed += (names.empty() ? "\"" : ", \"") + std::string(word.name) + "\"";
		names.push_back(word.name);
	}
	std::string_view near =
	    given.value.is_string() ? nearest_name(given.value.get_ref<const std::string &>(), names) : "";
	refuse(given, allowed, near.empty() ? "" : "Did you mean \"" + std::string(near) + "\"?");
}

constexpr std::array<Word<LogRequests>, 3> log_requests_words {{
    {"none", LogRequests::none},
    {"failed", LogRequests::failed},
    {"all", LogRequests::all},
}};
constexpr std::array<Word<LogRecords>, 4> log_records_words {{
    {"none", LogRecords::none},
    {"failed", LogRecords::failed},
    {"all", LogRecords::all},
    {"payload", LogRecords::payload},
}};
constexpr std::array<Word<bool>, 2> null_keys_words {{{"hold", false}, {"remove", true}}};
constexpr std::array<Word<StopOn>, 3> stop_on_words {{
    {"failed", StopOn::failed},
    {"warning", StopOn::warning},
    {"never", StopOn::never},
}};

double read_rate(const Given &given) {
	if (!given.value.is_string())
		refuse(given, "a rate as text, such as \"100/s\", \"300/min\" or \"190/10 s\"",
		       given.value.is_number() ? "Name the unit of time, for example \"" + given.value.dump() + "/s\"." : "");
	return parse_rate(given.value.get_ref<const std::string &>(), setting_name(given.key));
}

// Whether PostgreSQL knows the zone is checked where PostgreSQL is.
std::string read_time_zone(const Given &given) {
	std::string name = given.value.is_string() ? given.value.get<std::string>() : "";
	bool control = std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
	if (name.empty() || name.size() > 255 || control)
		refuse(given, "the name of a time zone", "See the view pg_timezone_names, for example \"Europe/Berlin\".");
	return name;
}

// Of no concern to a run: the scheduler reads window and jitter. Here it is seen that there are two times of the day;
// whether there is such a time zone is asked where PostgreSQL is.
void check_window(const Given &given) {
	static const std::regex form(
	    R"(\s*([01]?[0-9]|2[0-4]):[0-5][0-9]\s*-\s*([01]?[0-9]|2[0-4]):[0-5][0-9](\s+\S+)?\s*)");
	if (!given.value.is_string() || given.value.get<std::string>().size() > 300 ||
	    !std::regex_match(given.value.get<std::string>(), form))
		refuse(given, "two times of the day as text and, if wanted, a time zone",
		       "For example \"08:00-18:00 Europe/Berlin\", or \"22:00-06:00\".");
}

using Read = void (*)(SyncOptions &, const Given &);

struct Option {
	std::string_view name;
	Read read;
};

constexpr milliseconds one_hour {60 * 60 * 1000}, one_week {7 * 24 * 60 * 60 * 1000};

constexpr auto all_options = std::to_array<Option>({
    {"batch_size", [](auto &o, auto &given) { o.batch_size = read_whole(given, 1, 100000); }},
    {"concurrency", [](auto &o, auto &given) { o.concurrency = read_whole(given, 1, 256); }},
    {"rate_limit", [](auto &o, auto &given) { o.requests_per_second = read_rate(given); }},
    {"timeout", [](auto &o, auto &given) { o.timeout = read_interval(given, milliseconds(1), one_hour); }},
    {"max_attempts", [](auto &o, auto &given) { o.max_attempts = read_whole(given, 1, 100); }},
    {"changed_fields_only", [](auto &o, auto &given) { o.changed_fields_only = read_boolean(given); }},
    {"max_removed", [](auto &o, auto &given) { o.max_removed = read_threshold(given); }},
    {"max_changes", [](auto &o, auto &given) { o.max_changes = read_threshold(given); }},
    {"max_rejected", [](auto &o, auto &given) { o.max_rejected = read_threshold(given); }},
    {"max_wait", [](auto &o, auto &given) { o.max_wait = read_interval(given, milliseconds(0), one_week); }},
    {"max_job_time", [](auto &o, auto &given) { o.max_job_time = read_interval(given, milliseconds(1000), one_week); }},
    {"null_keys", [](auto &o, auto &given) { o.remove_despite_null_keys = read_word(given, null_keys_words); }},
    {"remember", [](auto &o, auto &given) { o.remember = read_calendar_interval(given); }},
    {"time_zone", [](auto &o, auto &given) { o.time_zone = read_time_zone(given); }},
    {"log_requests", [](auto &o, auto &given) { o.log_requests = read_word(given, log_requests_words); }},
    {"log_records", [](auto &o, auto &given) { o.log_records = read_word(given, log_records_words); }},
    {"retention", [](auto &o, auto &given) { o.retention = read_calendar_interval(given); }},
    {"workers", [](auto &o, auto &given) { o.workers = read_whole(given, 1, 16); }},
    {"stop_on", [](auto &o, auto &given) { o.stop_on = read_word(given, stop_on_words); }},
    {"window", [](auto &, auto &given) { check_window(given); }},
    {"jitter", [](auto &, auto &given) { (void)read_interval(given, milliseconds(0), one_week); }},
});

std::vector<std::string_view> option_names() {
	std::vector<std::string_view> names;
	for (const Option &option : all_options)
		names.push_back(option.name);
	return names;
}

[[noreturn]] void refuse_name(const std::string &key) {
	std::vector<std::string_view> names = option_names();
	std::string list;
	for (std::string_view name : names)
		list += (list.empty() ? "" : ", ") + std::string(name);
	std::string_view near = nearest_name(key, names);
	throw Error("22023", "there is no option \"" + key + "\"", "Options are " + list + ".",
	            near.empty() ? "Settings of the destination belong in config."
	                         : "Did you mean \"" + std::string(near) + "\"?");
}

} // namespace

bool Threshold::exceeded(std::uint64_t value, std::uint64_t total) const {
	if (count && value > *count)
		return true;
	// 29 of 100 is not more than 29 %, although 0.29 * 100 is less than 29 in binary.
	return share && static_cast<double>(value) > *share * static_cast<double>(total) * (1 + 1e-12);
}

SyncOptions parse_options(const json &options) {
	SyncOptions result;
	if (options.is_null())
		return result;
	if (!options.is_object())
		throw Error("22023", "options must be a JSON object, not " + std::string(options.type_name()), "",
		            "Write them like {\"batch_size\": 100, \"timeout\": \"10 s\"}.");
	for (const auto &[key, value] : options.items()) {
		auto option =
		    std::find_if(all_options.begin(), all_options.end(), [&name = key](const Option &o) { return o.name == name; });
		if (option == all_options.end())
			refuse_name(key);
		if (!value.is_null()) // null: the default
			option->read(result, Given {key, value});
	}
	return result;
}

int log_retention_minutes(const SyncOptions &options) {
	if (!options.retention)
		return 0;
	auto kept = parse_duration(*options.retention, "retention", Calendar::allowed); // at most 1,000 years
	return static_cast<int>(std::chrono::ceil<std::chrono::minutes>(kept).count());
}

std::string_view nearest_name(std::string_view name, std::span<const std::string_view> allowed) {
	if (name.empty() || name.size() > 64) // the table below is quadratic, and such a name is no slip of the finger
		return {};
	// Optimal string alignment: insertions, deletions, substitutions, and neighbours exchanged, each at the price of one.
	auto distance = [&](std::string_view other) {
		std::vector<std::vector<std::size_t>> cost(name.size() + 1, std::vector<std::size_t>(other.size() + 1));
		for (std::size_t i = 0; i <= name.size(); ++i)
			for (std::size_t j = 0; j <= other.size(); ++j) {
				if (i == 0 || j == 0) {
					cost[i][j] = i + j;
					continue;
				}
				bool same = name[i - 1] == other[j - 1];
				cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (same ? 0 : 1)});
				if (i > 1 && j > 1 && name[i - 1] == other[j - 2] && name[i - 2] == other[j - 1])
					cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
			}
		return cost[name.size()][other.size()];
	};
	std::string_view nearest;
	std::size_t best = std::max<std::size_t>(1, name.size() / 3) + 1;
	for (std::string_view candidate : allowed)
		if (auto d = distance(candidate); d < best) {
			best = d;
			nearest = candidate;
		}
	return nearest;
}

} // namespace courier
