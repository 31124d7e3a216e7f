#include "core/schedule.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

using namespace courier;
using namespace std::chrono_literals;

namespace courier {

// How GoogleTest prints one.
void PrintTo(const CivilTime &time, std::ostream *out) {
	*out << time.year << '-' << time.month << '-' << time.day << ' ' << time.hour << ':' << time.minute;
}

} // namespace courier

namespace {

Error error_of(std::string_view text) {
	try {
		parse_schedule(text);
	} catch (const Error &error) {
		return error;
	}
	return Error("", "accepted: " + std::string(text));
}

std::optional<CivilTime> next_of(std::string_view expression, CivilTime after) {
	return next(parse_schedule(expression).cron, after);
}

// The next `count` times as day.hour:minute, for schedules within a month.
std::string series(std::string_view expression, CivilTime after, int count) {
	std::string text;
	for (int i = 0; i < count; ++i) {
		auto time = next_of(expression, after);
		if (!time)
			return text + " none";
		text += (i ? " " : "") + std::to_string(time->day) + "." + std::to_string(time->hour) + ":" +
		        std::to_string(time->minute);
		after = *time;
	}
	return text;
}

// -- the four kinds

TEST(Schedule, Manual) {
	EXPECT_EQ(parse_schedule("manual").kind, ScheduleKind::manual);
	EXPECT_EQ(parse_schedule(" Manual ").kind, ScheduleKind::manual);
	EXPECT_EQ(error_of("manual please").sqlstate, "22023");
}

TEST(Schedule, Every) {
	Schedule schedule = parse_schedule("every 15 min");
	EXPECT_EQ(schedule.kind, ScheduleKind::every);
	EXPECT_EQ(schedule.interval, 15min);
	EXPECT_EQ(parse_schedule("EVERY 1 day 2 hours").interval, 26h);
	EXPECT_EQ(parse_schedule("every 1 s").interval, 1s);
}

TEST(Schedule, EveryIsAtLeastASecond) {
	Error error = error_of("every 999 ms");
	EXPECT_EQ(error.sqlstate, "22023");
	EXPECT_EQ(error.message, "schedule \"every 999 ms\": the interval is too short");
	EXPECT_EQ(error.detail, "The shortest interval is 1 s.");
	EXPECT_EQ(error_of("every").message, "schedule \"every\": \"\" is not an interval");
	EXPECT_EQ(error_of("every now and then").sqlstate, "22023");
	EXPECT_EQ(error_of("every 1 month").sqlstate, "22023") << "a month has no fixed length: that is @monthly";
}

TEST(Schedule, AfterAnotherSync) {
	Schedule schedule = parse_schedule("after  Big customers, daily ");
	EXPECT_EQ(schedule.kind, ScheduleKind::after);
	EXPECT_EQ(schedule.after, "Big customers, daily");
	EXPECT_EQ(error_of("after").message, "schedule \"after\": the name of a sync must follow after");
}

TEST(Schedule, CronWithAndWithoutATimeZone) {
	Schedule schedule = parse_schedule("30 6 * * 1-5 Europe/Berlin");
	EXPECT_EQ(schedule.kind, ScheduleKind::cron);
	EXPECT_EQ(schedule.time_zone, "Europe/Berlin");
	EXPECT_TRUE(schedule.cron.minutes[30]);
	EXPECT_EQ(schedule.cron.minutes.count(), 1u);
	EXPECT_TRUE(schedule.cron.hours[6]);
	EXPECT_EQ(schedule.cron.weekdays.to_string(), "0111110");
	EXPECT_EQ(parse_schedule("30 6 * * 1-5").time_zone, "");
	EXPECT_EQ(parse_schedule("0  0\t1 1 *   Etc/GMT+5 ").time_zone, "Etc/GMT+5");
	EXPECT_EQ(parse_schedule("@daily America/New_York").time_zone, "America/New_York");
}

TEST(Schedule, KindsHaveNames) {
	EXPECT_EQ(to_text(ScheduleKind::manual), "manual");
	EXPECT_EQ(to_text(ScheduleKind::every), "every");
	EXPECT_EQ(to_text(ScheduleKind::cron), "cron");
	EXPECT_EQ(to_text(ScheduleKind::after), "after");
}

// -- cron fields

TEST(Cron, ListsRangesAndSteps) {
	CronExpression cron = parse_schedule("0,15,50-52 */6 1-10/3 2-12/5 *").cron;
	EXPECT_EQ(cron.minutes.count(), 5u);
	for (int minute : {0, 15, 50, 51, 52})
		EXPECT_TRUE(cron.minutes[minute]) << minute;
	EXPECT_EQ(cron.hours.to_ulong(), 1u << 0 | 1u << 6 | 1u << 12 | 1u << 18);
	EXPECT_EQ(cron.days.to_ulong(), 1u << 1 | 1u << 4 | 1u << 7 | 1u << 10);
	EXPECT_EQ(cron.months.to_ulong(), 1u << 2 | 1u << 7 | 1u << 12);
	EXPECT_EQ(cron.weekdays.count(), 7u);
}

TEST(Cron, StarsCoverTheWholeRangeAndNothingElse) {
	CronExpression cron = parse_schedule("* * * * *").cron;
	EXPECT_TRUE(cron.minutes.all());
	EXPECT_TRUE(cron.hours.all());
	EXPECT_EQ(cron.days.count(), 31u);
	EXPECT_FALSE(cron.days[0]);
	EXPECT_EQ(cron.months.count(), 12u);
	EXPECT_FALSE(cron.months[0]);
	EXPECT_TRUE(cron.weekdays.all());
}

TEST(Cron, NamesOfMonthsAndDays) {
	CronExpression cron = parse_schedule("0 0 * jan,JUN-aug,Dec sun,Tue-thu").cron;
	EXPECT_EQ(cron.months.to_ulong(), 1u << 1 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 12);
	EXPECT_EQ(cron.weekdays.to_ulong(), 1u << 0 | 1u << 2 | 1u << 3 | 1u << 4);
}

TEST(Cron, SundayIsBothZeroAndSeven) {
	auto weekdays = [](std::string field) { return parse_schedule("0 0 * * " + field).cron.weekdays.to_ulong(); };
	EXPECT_EQ(weekdays("0"), 1u);
	EXPECT_EQ(weekdays("7"), 1u);
	EXPECT_EQ(weekdays("5-7"), 1u << 5 | 1u << 6 | 1u);
	EXPECT_EQ(weekdays("fri-sun"), 1u << 5 | 1u << 6 | 1u);
	EXPECT_EQ(weekdays("sun-sun"), 1u);
	EXPECT_EQ(weekdays("sun-tue"), 7u);
	EXPECT_EQ(weekdays("7-2"), 7u);
	EXPECT_EQ(weekdays("0-7"), 127u);
}

TEST(Cron, Shorthands) {
	CivilTime now {2024, 5, 15, 10, 30}; // a Wednesday
	EXPECT_EQ(next_of("@hourly", now), (CivilTime {2024, 5, 15, 11, 0}));
	EXPECT_EQ(next_of("@daily", now), (CivilTime {2024, 5, 16, 0, 0}));
	EXPECT_EQ(next_of("@midnight", now), (CivilTime {2024, 5, 16, 0, 0}));
	EXPECT_EQ(next_of("@weekly", now), (CivilTime {2024, 5, 19, 0, 0}));
	EXPECT_EQ(next_of("@Monthly", now), (CivilTime {2024, 6, 1, 0, 0}));
	EXPECT_EQ(next_of("@yearly", now), (CivilTime {2025, 1, 1, 0, 0}));
	EXPECT_EQ(next_of("@annually", now), (CivilTime {2025, 1, 1, 0, 0}));
	EXPECT_EQ(error_of("@reboot").sqlstate, "22023");
}

TEST(Cron, ErrorsNameTheFieldAndItsRange) {
	Error error = error_of("0 25 * * *");
	EXPECT_EQ(error.sqlstate, "22023");
	EXPECT_EQ(error.message, "schedule \"0 25 * * *\": \"25\" in the field hour is out of range");
	EXPECT_NE(error.detail.find("hour takes 0 to 23"), std::string::npos) << error.detail;

	EXPECT_NE(error_of("60 * * * *").detail.find("minute takes 0 to 59"), std::string::npos);
	EXPECT_NE(error_of("0 0 0 * *").detail.find("day of month takes 1 to 31"), std::string::npos);
	EXPECT_NE(error_of("0 0 32 * *").message.find("\"32\" in the field day of month"), std::string::npos);
	EXPECT_NE(error_of("0 0 * 13 *").detail.find("month takes 1 to 12, or jan to dec"), std::string::npos);
	EXPECT_NE(error_of("0 0 * * 8").detail.find("day of week takes 0 to 7"), std::string::npos);
	EXPECT_NE(error_of("0 0 * * lundi").message.find("\"lundi\" in the field day of week is not understood"),
	          std::string::npos);
}

TEST(Cron, WhatOtherCronsReadInSilenceIsRefusedWithAHint) {
	EXPECT_EQ(error_of("*/90 * * * *").hint,
	          "The longest step here is 59. For longer intervals use: every <interval>.");
	EXPECT_EQ(error_of("5/15 * * * *").hint, "Write 5-59/15.");
	EXPECT_EQ(error_of("0 22-2 * * *").hint, "Write it as two ranges: 22-23,0-2.");
	EXPECT_NE(error_of("0 0 * * * *").message.find("\"*\" after the cron expression"), std::string::npos);
	EXPECT_EQ(error_of("0 0 * * * *").hint,
	          "There is no field for seconds or years; for short intervals use: every <interval>.");
}

TEST(Cron, NonsenseIsRefused) {
	for (std::string_view text : {"",
	                              "  ",
	                              "daily",
	                              "* * * *",
	                              "1",
	                              "a b c d e",
	                              "1, * * * *",
	                              ",1 * * * *",
	                              "1,,2 * * * *",
	                              "- * * * *",
	                              "1- * * * *",
	                              "-1 * * * *",
	                              "1-2-3 * * * *",
	                              "*/0 * * * *",
	                              "*/ * * * *",
	                              "*/x * * * *",
	                              "*/-1 * * * *",
	                              "** * * * *",
	                              "*-5 * * * *",
	                              "1/2/3 * * * *",
	                              "0x5 * * * *",
	                              "99999999999999999999 * * * *",
	                              "5-3 * * * *",
	                              "? * * * *",
	                              "0 0 L * *",
	                              "0 0 * * mon#1",
	                              "* * * * * Europe/Berlin extra",
	                              "@daily 5",
	                              "@",
	                              "jan * * * *"})
		EXPECT_EQ(error_of(text).sqlstate, "22023") << error_of(text).message;
}

// -- the next time

TEST(CronNext, IsStrictlyLater) {
	EXPECT_EQ(next_of("30 6 * * *", {2024, 3, 1, 6, 29}), (CivilTime {2024, 3, 1, 6, 30}));
	EXPECT_EQ(next_of("30 6 * * *", {2024, 3, 1, 6, 30}), (CivilTime {2024, 3, 2, 6, 30}));
	EXPECT_EQ(next_of("* * * * *", {2024, 3, 1, 6, 30}), (CivilTime {2024, 3, 1, 6, 31}));
}

TEST(CronNext, RollsOverHoursDaysMonthsAndYears) {
	EXPECT_EQ(next_of("* * * * *", {2023, 12, 31, 23, 59}), (CivilTime {2024, 1, 1, 0, 0}));
	EXPECT_EQ(next_of("0 0 * * *", {2024, 2, 28, 12, 0}), (CivilTime {2024, 2, 29, 0, 0}));
	EXPECT_EQ(next_of("0 0 * * *", {2023, 2, 28, 12, 0}), (CivilTime {2023, 3, 1, 0, 0}));
	EXPECT_EQ(next_of("15 3 1 4 *", {2024, 4, 1, 3, 15}), (CivilTime {2025, 4, 1, 3, 15}));
	EXPECT_EQ(next_of("0 0 31 * *", {2024, 1, 31, 0, 0}), (CivilTime {2024, 3, 31, 0, 0}));
}

TEST(CronNext, WorkingDays) {
	// 1 March 2024 is a Friday.
	EXPECT_EQ(series("30 6 * * 1-5", {2024, 3, 1, 0, 0}, 4), "1.6:30 4.6:30 5.6:30 6.6:30");
	EXPECT_EQ(series("0 */8 * * sat,sun", {2024, 3, 1, 0, 0}, 4), "2.0:0 2.8:0 2.16:0 3.0:0");
}

TEST(CronNext, WhenBothDaysAreRestrictedEitherIsEnough) {
	// The 13th, and every Friday.
	EXPECT_EQ(series("0 0 13 * 5", {2024, 3, 1, 0, 0}, 4), "8.0:0 13.0:0 15.0:0 22.0:0");
}

TEST(CronNext, WhenOneBeginsWithAStarBothMustMatch) {
	EXPECT_EQ(series("0 0 * * 5", {2024, 3, 1, 0, 0}, 3), "8.0:0 15.0:0 22.0:0");
	EXPECT_EQ(series("0 0 13 * *", {2024, 3, 1, 0, 0}, 1), "13.0:0");
	// Odd days that are Mondays: */2 begins with a star.
	EXPECT_EQ(series("0 0 */2 * 1", {2024, 3, 1, 0, 0}, 2), "11.0:0 25.0:0");
}

TEST(CronNext, LeapDaysAreFoundAcrossYearsAndCenturies) {
	EXPECT_EQ(next_of("0 12 29 2 *", {2024, 2, 29, 12, 0}), (CivilTime {2028, 2, 29, 12, 0}));
	EXPECT_EQ(next_of("0 12 29 2 *", {2096, 2, 29, 12, 0}), (CivilTime {2104, 2, 29, 12, 0}));
}

TEST(CronNext, ThereIsNoneForDaysThatDoNotExist) {
	EXPECT_EQ(next_of("0 0 30 2 *", {2024, 1, 1, 0, 0}), std::nullopt);
	EXPECT_EQ(next_of("0 0 31 4,6,9,11 *", {2024, 1, 1, 0, 0}), std::nullopt);
}

TEST(CronNext, AgreesWithAWalkMinuteByMinute) {
	auto cron = parse_schedule("7,37 2-20/3 1,15 * tue").cron;
	CivilTime time {2024, 2, 27, 0, 0};
	CivilTime expected = *next(cron, time);
	int found = 0;
	using namespace std::chrono;
	for (sys_time<minutes> at = sys_days(2024y / 2 / 27) + 1min; at < sys_days(2024y / 4 / 2); at += 1min) {
		sys_days date = floor<days>(at);
		year_month_day civil(date);
		auto clock = hh_mm_ss(at - date);
		int hour = static_cast<int>(clock.hours().count()), minute = static_cast<int>(clock.minutes().count());
		bool day = civil.day() == 1d || civil.day() == 15d || weekday(date) == Tuesday;
		bool matches = day && (minute == 7 || minute == 37) && hour >= 2 && hour <= 20 && (hour - 2) % 3 == 0;
		if (!matches)
			continue;
		ASSERT_EQ(expected, (CivilTime {int(civil.year()), int(unsigned(civil.month())), int(unsigned(civil.day())),
		                                hour, minute}));
		expected = *next(cron, expected);
		++found;
	}
	EXPECT_GT(found, 50);
}

} // namespace
