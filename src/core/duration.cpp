#include "core/duration.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/error.hpp"

namespace courier {

namespace {

constexpr std::int64_t second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;
constexpr double longest = 1000.0 * 365 * day; // nobody means more, and no sum below overflows

struct Unit {
	std::string_view names; // each with a space before and after it
	std::int64_t milliseconds;
	bool calendar = false;
};

constexpr std::array units {
    Unit {" ms msec msecs millisecond milliseconds ", 1},
    Unit {" s sec secs second seconds ", second},
    Unit {" m min mins minute minutes ", minute},
    Unit {" h hr hrs hour hours ", hour},
    Unit {" d day days ", day},
    Unit {" w week weeks ", 7 * day},
    Unit {" mon mons month months ", 30 * day, true},
    Unit {" y yr yrs year years ", 365 * day, true},
};

const Unit *find_unit(const std::string &name, Calendar calendar) {
	for (const Unit &unit : units)
		if (unit.names.find(" " + name + " ") != std::string_view::npos)
			return unit.calendar && calendar == Calendar::refused ? nullptr : &unit;
	return nullptr;
}

bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

// Reads numbers, words and signs off the front of a text. Words come in lower case.
class Reader {
public:
	explicit Reader(std::string_view text) : rest_(text) {}

	bool done() {
		space();
		return rest_.empty();
	}

	bool accept(char c) {
		if (rest_.empty() || rest_.front() != c)
			return false;
		rest_.remove_prefix(1);
		return true;
	}

	bool at_digit() {
		space();
		return !rest_.empty() && is_digit(rest_.front());
	}

	// Digits, at most one point between digits. 15 digits are exact in a double; more is no duration.
	std::optional<double> number() {
		if (!at_digit())
			return std::nullopt;
		double value = 0, place = 1;
		std::size_t digits = 0;
		auto take = [&](bool fraction) {
			for (; !rest_.empty() && is_digit(rest_.front()); rest_.remove_prefix(1)) {
				if (++digits > 15)
					return false;
				value = value * 10 + (rest_.front() - '0');
				place *= fraction ? 10 : 1;
			}
			return true;
		};
		if (!take(false))
			return std::nullopt;
		if (rest_.size() > 1 && rest_[0] == '.' && is_digit(rest_[1])) {
			rest_.remove_prefix(1);
			if (!take(true))
				return std::nullopt;
		}
		return value / place;
	}

	std::string word() {
		space();
		std::string word;
		for (; !rest_.empty(); rest_.remove_prefix(1)) {
			char c = rest_.front();
			if (c >= 'A' && c <= 'Z')
				c = static_cast<char>(c - 'A' + 'a');
			if (c < 'a' || c > 'z')
				break;
			word += c;
		}
		return word;
	}

	void space() {
		while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t'))
			rest_.remove_prefix(1);
	}

private:
	std::string_view rest_;
};

// "hh:mm" or "hh:mm:ss.fff" after its first number, in milliseconds.
std::optional<double> clock_rest(Reader &reader, double hours) {
	auto minutes = reader.number();
	if (!minutes || *minutes >= 60 || *minutes != std::floor(*minutes) || hours != std::floor(hours))
		return std::nullopt;
	double total = hours * hour + *minutes * minute;
	if (reader.accept(':')) {
		auto seconds = reader.number();
		if (!seconds || *seconds >= 60)
			return std::nullopt;
		total += *seconds * second;
	}
	return total;
}

std::optional<double> read_duration(std::string_view text, Calendar calendar) {
	Reader reader(text);
	double total = 0;
	std::vector<std::int64_t> seen; // PostgreSQL refuses a unit that is named twice, and so do we
	bool clock = false;
	if (reader.done())
		return std::nullopt;
	while (!reader.done()) {
		auto amount = reader.number();
		if (!amount)
			return std::nullopt;
		if (reader.accept(':')) {
			auto time = clock_rest(reader, *amount);
			if (!time || clock || !reader.done())
				return std::nullopt;
			for (std::int64_t unit : seen)
				if (unit < day)
					return std::nullopt;
			clock = true;
			total += *time;
		} else {
			const Unit *unit = find_unit(reader.word(), calendar);
			if (!unit)
				return std::nullopt;
			// To PostgreSQL the fraction of "1.5 s" is milliseconds, so "1.5 s 20 ms" names them twice.
			bool split = unit->milliseconds == second && *amount != std::floor(*amount);
			for (std::int64_t other : seen)
				if (other == unit->milliseconds || (split && other == 1))
					return std::nullopt;
			seen.push_back(unit->milliseconds);
			if (split)
				seen.push_back(1);
			total += *amount * static_cast<double>(unit->milliseconds);
		}
		if (total > longest)
			return std::nullopt;
	}
	return total;
}

[[noreturn]] void refuse_rate(std::string_view text, std::string_view setting) {
	throw Error("22023", std::string(setting) + ": \"" + std::string(text) + "\" is not a rate",
	            "A rate is a number over 0 and a unit of time: \"100/s\", \"300/min\", \"5000/hour\", \"190/10 s\".",
	            "Write the number of requests, a slash and s, min, hour or day.");
}

} // namespace

std::chrono::milliseconds parse_duration(std::string_view text, std::string_view setting, Calendar calendar) {
	auto total = read_duration(text, calendar);
	if (!total) {
		std::string names = "ms, s, min, hour, day and week";
		if (calendar == Calendar::allowed)
			names = "ms, s, min, hour, day, week, month and year";
		throw Error("22023", std::string(setting) + ": \"" + std::string(text) + "\" is not an interval",
		            "An interval is one or more numbers with a unit, each unit once, none negative. Units are " +
		                names + ".",
		            "Write it like \"30 s\", \"15 min\" or \"1 day 2 hours\".");
	}
	return std::chrono::milliseconds(std::llround(*total));
}

double parse_rate(std::string_view text, std::string_view setting) {
	Reader reader(text);
	auto requests = reader.number();
	reader.space();
	if (!requests || *requests <= 0 || !reader.accept('/'))
		refuse_rate(text, setting);
	double count = 1;
	if (reader.at_digit()) {
		auto given = reader.number();
		if (!given || *given <= 0)
			refuse_rate(text, setting);
		count = *given;
	}
	const Unit *unit = find_unit(reader.word(), Calendar::refused);
	if (!unit || !reader.done())
		refuse_rate(text, setting);
	return *requests * second / (count * static_cast<double>(unit->milliseconds));
}

std::string duration_text(std::chrono::milliseconds duration) {
	std::int64_t left = duration.count();
	if (left <= 0)
		return "0 s";
	std::string text;
	auto part = [&](std::int64_t size, const char *one, const char *many) {
		std::int64_t amount = left / size;
		left %= size;
		if (amount == 0)
			return;
		if (!text.empty())
			text += ' ';
		text += std::to_string(amount) + ' ' + (amount == 1 ? one : many);
	};
	part(day, "day", "days");
	part(hour, "hour", "hours");
	part(minute, "min", "min");
	part(second, "s", "s");
	part(1, "ms", "ms");
	return text;
}

} // namespace courier
