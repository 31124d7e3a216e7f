#include "core/schedule.hpp"

#include <array>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "core/duration.hpp"
#include "core/error.hpp"

// Cron expressions as Vixie's cron reads them, except where it would silently do something that nobody meant: a step wider
// than its range (*/90 minutes runs hourly there), a step on a single number (it ignores it), a range that runs backwards.
// Those are errors that say what to write instead.

namespace courier {

namespace {

constexpr std::array<std::string_view, 12> month_names {"jan", "feb", "mar", "apr", "may", "jun",
                                                        "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> weekday_names {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Field {
	std::string_view name;
	int low, high;
	std::span<const std::string_view> names;
	std::string_view allowed;
};

const std::array<Field, 5> fields {{
    {"minute", 0, 59, {}, "0 to 59"},
    {"hour", 0, 23, {}, "0 to 23"},
    {"day of month", 1, 31, {}, "1 to 31"},
    {"month", 1, 12, month_names, "1 to 12, or jan to dec"},
    {"day of week", 0, 7, weekday_names, "0 to 7, where 0 and 7 are Sunday, or sun to sat"},
}};

constexpr std::array<std::pair<std::string_view, std::string_view>, 7> shorthands {{
    {"@hourly", "0 * * * *"},
    {"@daily", "0 0 * * *"},
    {"@midnight", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"},
    {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
}};

constexpr std::string_view forms =
    "A schedule is manual, every <interval>, after <sync>, or a cron expression (minute, hour, day of month, month, "
    "day of "
    "week; or @hourly, @daily, @weekly, @monthly, @yearly), if wanted with a time zone after it.";
constexpr std::string_view examples = "For example: every 15 min; 30 6 * * 1-5 Europe/Berlin; after contacts.";

[[noreturn]] void refuse(std::string_view schedule, const std::string &what, std::string detail = std::string(forms),
                         std::string hint = std::string(examples)) {
	throw Error("22023", "schedule \"" + std::string(schedule) + "\": " + what, std::move(detail), std::move(hint));
}

std::string lower(std::string_view text) {
	std::string result(text);
	for (char &c : result)
		if (c >= 'A' && c <= 'Z')
			c = static_cast<char>(c - 'A' + 'a');
	return result;
}

bool is_space(char c) {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

std::string_view trim(std::string_view text) {
	while (!text.empty() && is_space(text.front()))
		text.remove_prefix(1);
	while (!text.empty() && is_space(text.back()))
		text.remove_suffix(1);
	return text;
}

std::vector<std::string_view> words_of(std::string_view text) {
	std::vector<std::string_view> words;
	for (text = trim(text); !text.empty(); text = trim(text)) {
		std::size_t length = 0;
		while (length < text.size() && !is_space(text[length]))
			++length;
		words.push_back(text.substr(0, length));
		text.remove_prefix(length);
	}
	return words;
}

std::optional<int> small_number(std::string_view text) {
	if (text.empty() || text.size() > 4)
		return std::nullopt;
	int number = 0;
	for (char c : text) {
		if (c < '0' || c > '9')
			return std::nullopt;
		number = number * 10 + (c - '0');
	}
	return number;
}

// Reads one field of a cron expression into a set of numbers.
class FieldReader {
public:
	FieldReader(std::string_view schedule, const Field &field, std::string_view text)
	    : schedule_(schedule), field_(field), text_(text) {}

	template <std::size_t size> void read_into(std::bitset<size> &set) const {
		std::string_view rest = text_;
		while (true) {
			auto comma = rest.find(',');
			Range range = read_range(rest.substr(0, comma));
			for (int value = range.low; value <= range.high; value += range.step)
				set.set(static_cast<std::size_t>(value) % size); // weekday 7 is Sunday again
			if (comma == std::string_view::npos)
				return;
			rest.remove_prefix(comma + 1);
		}
	}

private:
	struct Range {
		int low, high, step = 1;
	};

	std::string_view schedule_;
	const Field &field_;
	std::string_view text_;

	[[noreturn]] void wrong(std::string_view part, const std::string &why, std::string hint = {}) const {
		refuse(schedule_, "\"" + std::string(part) + "\" in the field " + std::string(field_.name) + " " + why,
		       "The field " + std::string(field_.name) + " takes " + std::string(field_.allowed) +
		           ", as *, lists (1,2), ranges (1-5) and steps (*/2, 1-5/2).",
		       std::move(hint));
	}

	// Of a range that is not written out; Sunday counts once, as 0.
	std::string highest() const { return std::to_string(field_.high == 7 ? 6 : field_.high); }

	int read_value(std::string_view part, std::string_view text) const {
		std::string name = lower(text);
		for (std::size_t i = 0; i < field_.names.size(); ++i)
			if (field_.names[i] == name) {
				return static_cast<int>(i) + (field_.high == 12 ? 1 : 0);
			}
		auto number = small_number(text);
		if (!number)
			wrong(part, "is not understood");
		if (*number < field_.low || *number > field_.high)
			wrong(part, "is out of range");
		return *number;
	}

	// Sunday is both ends of the week: fri-sun runs up to 7, and 7-2 begins at 0.
	static void move_sunday(Range &range, bool ends_by_name) {
		if (ends_by_name && range.low > 0)
			range.high = 7;
		else if (range.low == 7 && range.high < 7)
			range.low = 0;
	}

	Range read_range(std::string_view part) const {
		if (part.empty())
			wrong(text_, "has an empty place in its list");
		auto slash = part.find('/');
		std::string_view body = part.substr(0, slash);
		Range range {field_.low, field_.high};
		if (field_.high == 7)
			range.high = 6; // * is each day once, so that steps are counted from Sunday to Saturday
		bool is_range = body == "*";
		if (!is_range) {
			auto dash = body.find('-');
			is_range = dash != std::string_view::npos;
			range.low = read_value(part, body.substr(0, dash));
			range.high = is_range ? read_value(part, body.substr(dash + 1)) : range.low;
			if (field_.high == 7 && is_range)
				move_sunday(range, lower(body.substr(dash + 1)) == "sun");
			if (range.low > range.high) {
				std::string low(body.substr(0, dash)), high(body.substr(dash + 1));
				wrong(part, "runs backwards",
				      "Write it as two ranges: " + low + "-" + highest() + "," + std::to_string(field_.low) + "-" +
				          high + ".");
			}
		}
		if (slash == std::string_view::npos)
			return range;
		if (!is_range)
			wrong(part, "has a step but no range",
			      "Write " + std::string(body) + "-" + highest() + std::string(part.substr(slash)) + ".");
		auto step = small_number(part.substr(slash + 1));
		int most = range.high - range.low;
		if (!step || *step < 1)
			wrong(part, "has a step that is no number from 1");
		if (*step > most && *step > 1)
			wrong(part, "has a step that is longer than its range",
			      "The longest step here is " + std::to_string(most) + ". For longer intervals use: every <interval>.");
		range.step = *step;
		return range;
	}
};

CronExpression read_cron(std::string_view schedule, std::span<const std::string_view> words) {
	CronExpression cron;
	FieldReader(schedule, fields[0], words[0]).read_into(cron.minutes);
	FieldReader(schedule, fields[1], words[1]).read_into(cron.hours);
	FieldReader(schedule, fields[2], words[2]).read_into(cron.days);
	FieldReader(schedule, fields[3], words[3]).read_into(cron.months);
	FieldReader(schedule, fields[4], words[4]).read_into(cron.weekdays);
	cron.any_day = words[2].front() == '*';
	cron.any_weekday = words[4].front() == '*';
	return cron;
}

// Enough to tell a time zone from a sixth field or a stray word; whether there is such a zone PostgreSQL knows.
std::string read_zone(std::string_view schedule, std::span<const std::string_view> words) {
	if (words.empty())
		return {};
	char first = words[0].front();
	bool letter = (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z');
	if (words.size() > 1 || !letter) {
		std::string rest(words[0]);
		for (std::string_view word : words.subspan(1))
			rest += " " + std::string(word);
		refuse(schedule, "\"" + rest + "\" after the cron expression is not the name of a time zone",
		       std::string(forms),
		       letter ? std::string(examples)
		              : "There is no field for seconds or years; for short intervals use: every <interval>.");
	}
	return std::string(words[0]);
}

Schedule parse_cron(std::string_view text) {
	std::vector<std::string_view> words = words_of(text);
	Schedule schedule;
	schedule.kind = ScheduleKind::cron;
	if (words[0].front() == '@') {
		std::string name = lower(words[0]);
		for (const auto &[shorthand, expression] : shorthands)
			if (shorthand == name) {
				schedule.cron = read_cron(text, words_of(expression));
				schedule.time_zone = read_zone(text, std::span(words).subspan(1));
				return schedule;
			}
		refuse(text, "\"" + std::string(words[0]) + "\" is not known");
	}
	// A word that cannot begin a cron expression was not meant as one.
	if (small_number(words[0].substr(0, 1)) == std::nullopt && words[0].front() != '*' && words.size() < 5)
		refuse(text, "not understood");
	if (words.size() < 5)
		refuse(text, "a cron expression has five fields, this one has " + std::to_string(words.size()));
	schedule.cron = read_cron(text, std::span(words).first(5));
	schedule.time_zone = read_zone(text, std::span(words).subspan(5));
	return schedule;
}

} // namespace

std::string_view to_text(ScheduleKind kind) {
	switch (kind) {
	case ScheduleKind::manual:
		return "manual";
	case ScheduleKind::every:
		return "every";
	case ScheduleKind::cron:
		return "cron";
	case ScheduleKind::after:
		return "after";
	}
	return "manual";
}

Schedule parse_schedule(std::string_view given) {
	std::string_view text = trim(given);
	if (text.empty())
		refuse(given, "is empty");
	std::size_t length = 0;
	while (length < text.size() && !is_space(text[length]))
		++length;
	std::string word = lower(text.substr(0, length));
	std::string_view rest = trim(text.substr(length));
	Schedule schedule;
	if (word == "manual") {
		if (!rest.empty())
			refuse(text, "nothing may follow manual");
	} else if (word == "every") {
		schedule.kind = ScheduleKind::every;
		schedule.interval = parse_duration(rest, "schedule \"" + std::string(text) + "\"");
		if (schedule.interval < std::chrono::seconds(1))
			refuse(text, "the interval is too short", "The shortest interval is 1 s.");
	} else if (word == "after") {
		schedule.kind = ScheduleKind::after;
		if (rest.empty())
			refuse(text, "the name of a sync must follow after");
		schedule.after = rest;
	} else {
		return parse_cron(text);
	}
	return schedule;
}

std::optional<CivilTime> next(const CronExpression &cron, CivilTime after) {
	using namespace std::chrono;
	constexpr int years_to_search = 10;
	if (after.year < 1 || after.year > 9999)
		return std::nullopt;
	auto on_a_clock = [](const CivilTime &t) {
		sys_days date(year(t.year) / t.month / t.day);
		return date + hours(t.hour) + minutes(t.minute);
	};
	sys_time<minutes> first = on_a_clock(after) + minutes(1);
	sys_days last = floor<days>(first) + days(years_to_search * 366);

	for (sys_days date = floor<days>(first); date <= last; date += days(1)) {
		year_month_day civil(date);
		auto month_number = static_cast<unsigned>(civil.month()), day_number = static_cast<unsigned>(civil.day());
		if (!cron.months[month_number])
			continue;
		bool by_day = cron.days[day_number], by_weekday = cron.weekdays[weekday(date).c_encoding()];
		bool either_is_enough = !cron.any_day && !cron.any_weekday;
		if (either_is_enough ? !by_day && !by_weekday : !by_day || !by_weekday)
			continue;
		// Only on the first date can part of the day be over already.
		int over = first > date ? static_cast<int>((first - date).count()) : 0;
		for (int at = over; at < 24 * 60; ++at)
			if (cron.hours[at / 60] && cron.minutes[at % 60])
				return CivilTime {int(civil.year()), int(month_number), int(day_number), at / 60, at % 60};
	}
	return std::nullopt;
}

} // namespace courier
