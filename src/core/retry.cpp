#include "core/retry.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

// What destinations say about waiting is input from strangers: every value is bounded, and what is malformed counts as not
// said. Waits are rounded up to the millisecond, so that nobody comes back a moment too early and is turned away again.

namespace courier {

namespace {

using namespace std::chrono;

constexpr milliseconds longest_wait = duration_cast<milliseconds>(days(3650));

bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

bool is_space(char c) {
	return c == ' ' || c == '\t';
}

std::string lower(std::string_view text) {
	std::string result(text);
	for (char &c : result)
		if (c >= 'A' && c <= 'Z')
			c = static_cast<char>(c - 'A' + 'a');
	return result;
}

std::string_view trim(std::string_view text) {
	while (!text.empty() && is_space(text.front()))
		text.remove_prefix(1);
	while (!text.empty() && is_space(text.back()))
		text.remove_suffix(1);
	return text;
}

// Digits with at most one point between digits, perhaps a minus before. Infinitely many digits are no danger to a double.
std::optional<double> decimal(std::string_view text) {
	bool negative = !text.empty() && text.front() == '-';
	if (negative)
		text.remove_prefix(1);
	if (text.empty() || text.size() > 40 || !is_digit(text.front()) || !is_digit(text.back()))
		return std::nullopt;
	double number = 0, place = 1;
	bool point = false;
	for (char c : text) {
		if (c == '.' && !point) {
			point = true;
		} else if (is_digit(c)) {
			number = number * 10 + (c - '0');
			place *= point ? 10 : 1;
		} else {
			return std::nullopt;
		}
	}
	return (negative ? -1 : 1) * number / place;
}

milliseconds bounded(double wait_in_milliseconds) {
	if (!(wait_in_milliseconds > 0))
		return milliseconds(0);
	if (wait_in_milliseconds >= static_cast<double>(longest_wait.count()))
		return longest_wait;
	// 0.29 s is 290 ms, although the product in binary lies a little above.
	return milliseconds(static_cast<std::int64_t>(std::ceil(wait_in_milliseconds - 1e-6)));
}

milliseconds until(WallTime then, WallTime now) {
	if (then <= now)
		return milliseconds(0);
	return std::min(ceil<milliseconds>(then - now), longest_wait);
}

double since_epoch_in_milliseconds(WallTime now) {
	return duration<double, std::milli>(now.time_since_epoch()).count();
}

// Reads the parts of a date one after another; after the first part that does not fit, everything fails.
class DateReader {
public:
	explicit DateReader(std::string_view text) : rest_(text) {}

	bool good() const { return good_ && rest_.empty(); }

	int number(std::size_t least, std::size_t most) {
		std::size_t length = 0;
		int value = 0;
		while (length < rest_.size() && length < most && is_digit(rest_[length]))
			value = value * 10 + (rest_[length++] - '0');
		good_ = good_ && length >= least;
		rest_.remove_prefix(length);
		return value;
	}

	std::string word() {
		std::size_t length = 0;
		while (length < rest_.size() && ((rest_[length] | 32) >= 'a' && (rest_[length] | 32) <= 'z'))
			++length;
		std::string result = lower(rest_.substr(0, length));
		rest_.remove_prefix(length);
		return result;
	}

	// One character; a space stands for one or more.
	bool accept(char c) {
		if (rest_.empty() || rest_.front() != c)
			return false;
		do
			rest_.remove_prefix(1);
		while (c == ' ' && !rest_.empty() && rest_.front() == ' ');
		return true;
	}

	void expect(char c) { good_ = accept(c) && good_; }

	void expect(bool condition) { good_ = good_ && condition; }

private:
	std::string_view rest_;
	bool good_ = true;
};

unsigned month_number(std::string_view name) {
	constexpr std::array<std::string_view, 12> names {"jan", "feb", "mar", "apr", "may", "jun",
	                                                  "jul", "aug", "sep", "oct", "nov", "dec"};
	auto found = std::find(names.begin(), names.end(), name);
	return found == names.end() ? 0 : static_cast<unsigned>(found - names.begin()) + 1;
}

bool is_weekday(std::string_view name) {
	constexpr std::array<std::string_view, 14> names {"sun",       "mon",      "tue",    "wed",     "thu",
	                                                  "fri",       "sat",      "sunday", "monday",  "tuesday",
	                                                  "wednesday", "thursday", "friday", "saturday"};
	return std::find(names.begin(), names.end(), name) != names.end();
}

// What a reset field holds: time left, or a moment. Nothing smaller than a thousand million (32 years, or September 2001)
// is a moment, nothing of a hundred thousand millions or more is in seconds.
std::optional<milliseconds> parse_reset(std::string_view text, WallTime now) {
	auto value = decimal(text);
	if (!value) {
		auto then = parse_http_date(text, now);
		return then ? std::optional(until(*then, now)) : std::nullopt;
	}
	if (*value < 1e9)
		return bounded(*value * 1000);
	double moment = *value < 1e11 ? *value * 1000 : *value;
	return bounded(moment - since_epoch_in_milliseconds(now));
}

// One entry of a structured list: a name and its parameters. The draft's `"burst";r=0;t=5`.
struct Limit {
	std::string name;
	std::vector<std::pair<std::string, std::string>> parameters;

	std::optional<double> get(std::string_view parameter) const {
		for (const auto &[name, value] : parameters)
			if (name == parameter)
				return decimal(value);
		return std::nullopt;
	}
};

// Cuts at `separator` where it does not stand inside a quoted string.
std::vector<std::string_view> cut(std::string_view text, char separator) {
	std::vector<std::string_view> pieces;
	bool quoted = false;
	std::size_t start = 0;
	for (std::size_t i = 0; i <= text.size(); ++i) {
		if (i == text.size() || (text[i] == separator && !quoted)) {
			pieces.push_back(trim(text.substr(start, i - start)));
			start = i + 1;
		} else if (text[i] == '"') {
			quoted = !quoted;
		} else if (text[i] == '\\' && quoted && i + 1 < text.size()) {
			++i;
		}
	}
	return pieces;
}

std::pair<std::string, std::string> name_and_value(std::string_view piece) {
	auto equals = piece.find('=');
	if (equals == std::string_view::npos)
		return {lower(piece), ""};
	return {lower(trim(piece.substr(0, equals))), std::string(trim(piece.substr(equals + 1)))};
}

std::vector<Limit> parse_limits(std::string_view text) {
	std::vector<Limit> limits;
	for (std::string_view entry : cut(text, ',')) {
		std::vector<std::string_view> pieces = cut(entry, ';');
		Limit limit {std::string(pieces[0]), {}};
		for (std::size_t i = 1; i < pieces.size(); ++i)
			limit.parameters.push_back(name_and_value(pieces[i]));
		limits.push_back(std::move(limit));
	}
	return limits;
}

// Without a copy: every answer is asked for a dozen of names.
bool is_named(const Header &header, std::string_view lower_name) {
	return std::equal(header.name.begin(), header.name.end(), lower_name.begin(), lower_name.end(),
	                  [](unsigned char a, unsigned char b) { return std::tolower(a) == b; });
}

// All values of a field, joined by commas as HTTP says.
std::optional<std::string> field(std::span<const Header> headers, std::string_view name) {
	std::optional<std::string> joined;
	for (const Header &header : headers)
		if (is_named(header, name))
			joined = joined ? *joined + ", " + header.value : header.value;
	return joined;
}

void keep_longer(std::optional<milliseconds> &wait, std::optional<milliseconds> other) {
	if (other && (!wait || *other > *wait))
		wait = other;
}

std::optional<milliseconds> from_structured_fields(std::span<const Header> headers, WallTime now) {
	std::optional<milliseconds> wait;
	auto rate_limit = field(headers, "ratelimit");
	if (!rate_limit)
		return wait;
	std::vector<Limit> limits = parse_limits(*rate_limit);
	std::vector<Limit> policies = parse_limits(field(headers, "ratelimit-policy").value_or(""));
	for (const Limit &limit : limits) {
		if (limit.get("r") != 0.0)
			continue;
		auto left = limit.get("t");
		// Without a time, nothing remains until the policy's window is over at the latest.
		for (const Limit &policy : policies)
			if (!left && policy.name == limit.name)
				left = policy.get("w");
		if (left)
			keep_longer(wait, bounded(*left * 1000));
	}
	// The drafts up to the seventh had one limit as a dictionary.
	Limit dictionary;
	for (const Limit &limit : limits)
		dictionary.parameters.push_back(name_and_value(limit.name));
	if (dictionary.get("remaining") == 0.0)
		for (const auto &[name, value] : dictionary.parameters)
			if (name == "reset")
				keep_longer(wait, parse_reset(value, now));
	return wait;
}

bool mentions_rate(std::string_view name) {
	constexpr std::string_view rate = "rate";
	return std::search(name.begin(), name.end(), rate.begin(), rate.end(), [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; }) !=
	       name.end();
}

} // namespace

milliseconds backoff(int attempt, milliseconds base, milliseconds cap, double uniform) {
	double longest = static_cast<double>(base.count()) * std::exp2(std::clamp(attempt - 1, 0, 60));
	longest = std::min(longest, static_cast<double>(cap.count()));
	return milliseconds(std::llround(std::max(longest, 0.0) * std::clamp(uniform, 0.0, 1.0)));
}

std::optional<WallTime> parse_http_date(std::string_view text, WallTime now) {
	DateReader reader(trim(text));
	int year_number = 0, day_number = 0;
	unsigned month = 0;
	std::array<int, 3> clock {};
	auto read_clock = [&] {
		clock[0] = reader.number(2, 2);
		reader.expect(':');
		clock[1] = reader.number(2, 2);
		reader.expect(':');
		clock[2] = reader.number(2, 2);
		reader.expect(' ');
	};
	reader.expect(is_weekday(reader.word()));
	if (reader.accept(',')) {
		reader.expect(' ');
		day_number = reader.number(1, 2);
		char separator = reader.accept('-') ? '-' : ' ';
		if (separator == ' ')
			reader.expect(' ');
		month = month_number(reader.word());
		reader.expect(separator);
		if (separator == '-') {
			year_number = reader.number(2, 2);
			// Of the years that end like this, the latest that is not more than 50 years ahead.
			int this_year = static_cast<int>(year_month_day(floor<days>(now)).year());
			year_number += this_year / 100 * 100;
			if (year_number > this_year + 50)
				year_number -= 100;
			else if (year_number <= this_year - 50)
				year_number += 100;
		} else {
			year_number = reader.number(4, 4);
		}
		reader.expect(' ');
		read_clock();
		std::string zone = reader.word();
		reader.expect(zone == "gmt" || zone == "utc");
	} else {
		reader.expect(' ');
		month = month_number(reader.word());
		reader.expect(' ');
		day_number = reader.number(1, 2);
		reader.expect(' ');
		read_clock();
		year_number = reader.number(4, 4);
	}
	year_month_day date(year(year_number), std::chrono::month(month), day(static_cast<unsigned>(day_number)));
	// system_clock counts nanoseconds in 64 bits, which ends in 2262.
	if (!reader.good() || !date.ok() || year_number > 2250 || year_number < 1700 || clock[0] > 23 || clock[1] > 59 ||
	    clock[2] > 60)
		return std::nullopt;
	return sys_days(date) + hours(clock[0]) + minutes(clock[1]) + seconds(clock[2]);
}

std::optional<milliseconds> parse_retry_after(std::string_view value, WallTime now) {
	value = trim(value);
	if (auto seconds_left = decimal(value))
		return bounded(*seconds_left * 1000);
	if (auto then = parse_http_date(value, now))
		return until(*then, now);
	return std::nullopt;
}

std::optional<milliseconds> parse_rate_limit(std::span<const Header> headers, WallTime now) {
	// Most answers have none of them, and every answer is asked.
	if (std::none_of(headers.begin(), headers.end(), [](const Header &header) { return mentions_rate(header.name); }))
		return std::nullopt;
	std::optional<milliseconds> wait = from_structured_fields(headers, now);
	for (const char *prefix : {"ratelimit-", "x-ratelimit-", "x-rate-limit-", "x-sib-ratelimit-"}) {
		auto remaining = field(headers, std::string(prefix) + "remaining");
		auto reset = field(headers, std::string(prefix) + "reset");
		if (remaining && reset && decimal(trim(*remaining)) == 0.0)
			keep_longer(wait, parse_reset(trim(*reset), now));
	}
	return wait;
}

milliseconds next_attempt_delay(int attempts) {
	milliseconds delay = minutes(1);
	for (int i = 1; i < attempts && delay < days(1); ++i)
		delay *= 2;
	return std::min<milliseconds>(delay, days(1));
}

} // namespace courier
