#pragma once

#include <bitset>
#include <chrono>
#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace courier {

// A time on the wall clock of some place, to the minute. Which moment that is (and whether it exists on the day the clocks
// change) is a question for PostgreSQL, which knows the time zones.
struct CivilTime {
	int year = 1970, month = 1, day = 1, hour = 0, minute = 0;
	auto operator<=>(const CivilTime &) const = default;
};

struct CronExpression {
	std::bitset<60> minutes;
	std::bitset<24> hours;
	std::bitset<32> days;    // 1 to 31
	std::bitset<13> months;  // 1 to 12
	std::bitset<7> weekdays; // 0 is Sunday
	// A field that begins with * restricts nothing in the rule for days: when both are restricted, either is enough.
	bool any_day = true, any_weekday = true;
};

enum class ScheduleKind { manual, every, cron, after };

std::string_view to_text(ScheduleKind kind); // "manual", "every", "cron", "after"

struct Schedule {
	ScheduleKind kind = ScheduleKind::manual;
	std::chrono::milliseconds interval {0}; // every
	CronExpression cron;                    // cron
	std::string time_zone;                  // cron; empty: none was named. Its validity is not checked here
	std::string after;                      // after: the name of a sync
};

// manual | every <interval> | <five cron fields or @daily and the like> [time zone] | after <sync>.
// Error 22023 names the field that is wrong and what it takes.
Schedule parse_schedule(std::string_view text);

// The first time that matches and is later than `after`; nullopt when there is none within ten years (30 February).
std::optional<CivilTime> next(const CronExpression &cron, CivilTime after);

} // namespace courier
