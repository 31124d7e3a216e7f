#include "core/duration.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

using namespace courier;
using namespace std::chrono_literals;

namespace {

Error error_of(const char *text, Calendar calendar = Calendar::refused) {
	try {
		parse_duration(text, "option \"timeout\"", calendar);
	} catch (const Error &error) {
		return error;
	}
	return Error("", std::string("accepted: ") + text);
}

TEST(Duration, IsANumberAndAUnit) {
	EXPECT_EQ(parse_duration("30 s", "x"), 30s);
	EXPECT_EQ(parse_duration("15 min", "x"), 15min);
	EXPECT_EQ(parse_duration("1 hour", "x"), 1h);
	EXPECT_EQ(parse_duration("500 ms", "x"), 500ms);
	EXPECT_EQ(parse_duration("2 days", "x"), 48h);
	EXPECT_EQ(parse_duration("1 week", "x"), 7 * 24h);
}

TEST(Duration, MayHaveSeveralParts) {
	EXPECT_EQ(parse_duration("1 day 2 hours", "x"), 26h);
	EXPECT_EQ(parse_duration("1 h 30 min 15 s 250 ms", "x"), 1h + 30min + 15s + 250ms);
}

TEST(Duration, TakesTheUnitNamesOfPostgres) {
	for (const char *text : {"1 m", "1 min", "1 mins", "1 minute", "1 minutes", "60 sec", "60 secs", "60 second",
	                         "60 seconds", "60000 msec", "60000 millisecond", "60000 milliseconds"})
		EXPECT_EQ(parse_duration(text, "x"), 1min) << text;
	for (const char *text : {"24 h", "24 hr", "24 hrs", "24 hours", "1 d", "1 day"})
		EXPECT_EQ(parse_duration(text, "x"), 24h) << text;
}

TEST(Duration, TakesTheFormThatPostgresPrints) {
	EXPECT_EQ(parse_duration("00:00:30", "x"), 30s);
	EXPECT_EQ(parse_duration("1 day 02:30:00.5", "x"), 26h + 30min + 500ms);
	EXPECT_EQ(parse_duration("36:00", "x"), 36h);
}

TEST(Duration, SpaceAndCaseDoNotMatter) {
	EXPECT_EQ(parse_duration("30s", "x"), 30s);
	EXPECT_EQ(parse_duration("  1H 5Min ", "x"), 65min);
}

TEST(Duration, MayHaveAFraction) {
	EXPECT_EQ(parse_duration("1.5 s", "x"), 1500ms);
	EXPECT_EQ(parse_duration("0.25 hours", "x"), 15min);
	EXPECT_EQ(parse_duration("0 s", "x"), 0ms);
}

TEST(Duration, AnythingElseIsAnError) {
	for (const char *text : {"",
	                         " ",
	                         "30",
	                         "s",
	                         "30 parsecs",
	                         "-5 s",
	                         "+5 s",
	                         "5 s ago",
	                         "1 s 2",
	                         "1,5 s",
	                         "1. s",
	                         ".5 s",
	                         "1e3 s",
	                         "every 5 s",
	                         "1 s 1 s",
	                         "1 s 2 sec",
	                         "1.5 s 20 ms",
	                         "12:60",
	                         "12:00:60",
	                         "1:2:3:4",
	                         "1 h 00:30",
	                         "00:30 1 h",
	                         "9999999999999999 s",
	                         "400000 days",
	                         "1 s\n2"})
		EXPECT_EQ(error_of(text).sqlstate, "22023") << error_of(text).message;
}

TEST(Duration, ErrorsNameTheSettingAndWhatIsAllowed) {
	Error error = error_of("30 parsecs");
	EXPECT_EQ(error.message, "option \"timeout\": \"30 parsecs\" is not an interval");
	EXPECT_NE(error.detail.find("ms, s, min, hour, day and week"), std::string::npos) << error.detail;
	EXPECT_NE(error.hint.find("30 s"), std::string::npos);
}

TEST(Duration, MonthsAndYearsAreForTheSettingsThatAreKeptAsText) {
	EXPECT_EQ(error_of("1 month").sqlstate, "22023");
	EXPECT_EQ(parse_duration("1 month", "x", Calendar::allowed), 30 * 24h);
	EXPECT_EQ(parse_duration("1 year 2 mons 3 days", "x", Calendar::allowed), (365 + 60 + 3) * 24h);
}

TEST(DurationText, ReadsLikeAnIntervalAndIsReadBack) {
	EXPECT_EQ(duration_text(0ms), "0 s");
	EXPECT_EQ(duration_text(250ms), "250 ms");
	EXPECT_EQ(duration_text(90min), "1 hour 30 min");
	EXPECT_EQ(duration_text(26h + 1s + 5ms), "1 day 2 hours 1 s 5 ms");
	for (auto duration : {1ms, 999ms, 61000ms, 86400000ms, 694861001ms})
		EXPECT_EQ(parse_duration(duration_text(duration), "x"), duration);
}

TEST(Rate, IsRequestsPerUnitOfTime) {
	EXPECT_DOUBLE_EQ(parse_rate("100/s", "x"), 100);
	EXPECT_DOUBLE_EQ(parse_rate("300/min", "x"), 5);
	EXPECT_DOUBLE_EQ(parse_rate("5000/hour", "x"), 5000.0 / 3600);
	EXPECT_DOUBLE_EQ(parse_rate("86400 / day", "x"), 1);
	EXPECT_DOUBLE_EQ(parse_rate("0.5/s", "x"), 0.5);
	EXPECT_DOUBLE_EQ(parse_rate("190/10 s", "x"), 19) << "as destinations publish them";
}

TEST(Rate, AnythingElseIsAnError) {
	for (const char *text :
	     {"", "100", "100/", "/s", "0/s", "-1/s", "100/0 s", "100/month", "100/s/s", "100 s", "100/s x", "x/s"}) {
		try {
			parse_rate(text, "option \"rate_limit\"");
			ADD_FAILURE() << "accepted: " << text;
		} catch (const Error &error) {
			EXPECT_EQ(error.sqlstate, "22023");
			EXPECT_EQ(error.message, std::string("option \"rate_limit\": \"") + text + "\" is not a rate");
			EXPECT_NE(error.detail.find("300/min"), std::string::npos);
		}
	}
}

} // namespace
