#include "core/retry.hpp"

#include <gtest/gtest.h>

using namespace courier;
using namespace std::chrono;

namespace {

const WallTime now = sys_days(2024y / 5 / 15) + 10h + 30min; // 1715769000

std::optional<milliseconds> rate_limit(std::vector<Header> headers) {
	return parse_rate_limit(headers, now);
}

// -- backoff

TEST(Backoff, DoublesUpToItsCap) {
	EXPECT_EQ(backoff(1, 500ms, 60s, 1.0), 500ms);
	EXPECT_EQ(backoff(2, 500ms, 60s, 1.0), 1s);
	EXPECT_EQ(backoff(5, 500ms, 60s, 1.0), 8s);
	EXPECT_EQ(backoff(8, 500ms, 60s, 1.0), 60s);
	EXPECT_EQ(backoff(1000000, 500ms, 60s, 1.0), 60s);
}

TEST(Backoff, JitterReachesDownToNothing) {
	EXPECT_EQ(backoff(4, 500ms, 60s, 0.0), 0ms);
	EXPECT_EQ(backoff(4, 500ms, 60s, 0.5), 2s);
}

TEST(Backoff, IsNeverNegativeAndNeverOverTheCap) {
	for (int attempt : {-5, 0, 1, 3, 50, 2147483647})
		for (double uniform : {-1.0, 0.0, 0.3, 0.999, 2.0}) {
			EXPECT_GE(backoff(attempt, 500ms, 60s, uniform), 0ms);
			EXPECT_LE(backoff(attempt, 500ms, 60s, uniform), 60s);
		}
}

TEST(NextAttempt, OfARejectedRecordIsAMinuteDoublingToADay) {
	EXPECT_EQ(next_attempt_delay(1), 1min);
	EXPECT_EQ(next_attempt_delay(2), 2min);
	EXPECT_EQ(next_attempt_delay(3), 4min);
	EXPECT_EQ(next_attempt_delay(11), 1024min);
	EXPECT_EQ(next_attempt_delay(12), 24h);
	EXPECT_EQ(next_attempt_delay(2147483647), 24h);
	EXPECT_EQ(next_attempt_delay(0), 1min);
	EXPECT_EQ(next_attempt_delay(-1), 1min);
}

// -- Retry-After

TEST(RetryAfter, Seconds) {
	EXPECT_EQ(parse_retry_after("120", now), 120s);
	EXPECT_EQ(parse_retry_after("0", now), 0s);
	EXPECT_EQ(parse_retry_after("  3 ", now), 3s);
}

TEST(RetryAfter, FractionsAreRoundedUp) {
	EXPECT_EQ(parse_retry_after("1.5", now), 1500ms);
	EXPECT_EQ(parse_retry_after("0.29", now), 290ms);
	EXPECT_EQ(parse_retry_after("0.0001", now), 1ms);
}

TEST(RetryAfter, DatesInAllThreeForms) {
	EXPECT_EQ(parse_retry_after("Wed, 15 May 2024 10:31:30 GMT", now), 90s);
	EXPECT_EQ(parse_retry_after("Wednesday, 15-May-24 10:31:30 GMT", now), 90s);
	EXPECT_EQ(parse_retry_after("Wed May 15 10:31:30 2024", now), 90s);
	EXPECT_EQ(parse_retry_after("Sat Jun  1 00:00:00 2024", now), sys_days(2024y / 6 / 1) - now);
}

TEST(RetryAfter, ADateIsWaitedForToItsEnd) {
	EXPECT_EQ(parse_retry_after("Wed, 15 May 2024 10:30:01 GMT", now + 300us), 1s) << "999.7 ms, rounded up";
}

TEST(RetryAfter, ThePastIsNow) {
	EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), 0s);
	EXPECT_EQ(parse_retry_after("-5", now), 0s);
}

TEST(RetryAfter, IsBounded) {
	EXPECT_EQ(parse_retry_after("99999999999999999999999999", now), days(3650));
	EXPECT_EQ(parse_retry_after("Tue, 01 Jan 2250 00:00:00 GMT", now), days(3650));
}

TEST(RetryAfter, MalformedIsNotSaid) {
	for (const char *value : {"",
	                          " ",
	                          "soon",
	                          "1e3",
	                          "1.",
	                          ".5",
	                          "1.2.3",
	                          "+5",
	                          "--5",
	                          "30s",
	                          "5, 10",
	                          "0x10",
	                          "NaN",
	                          "inf",
	                          "Wed, 15 May 2024",
	                          "Wed, 15 May 2024 10:31:30",
	                          "Wed, 15 May 2024 10:31:30 PST",
	                          "Wed, 32 May 2024 10:31:30 GMT",
	                          "Wed, 30 Feb 2024 10:31:30 GMT",
	                          "Wed, 15 Mai 2024 10:31:30 GMT",
	                          "Wed, 15 May 2024 25:31:30 GMT",
	                          "Wed, 15 May 2024 10:60:30 GMT",
	                          "Wed, 15 May 2024 10:31:30 GMT x",
	                          "Day, 15 May 2024 10:31:30 GMT",
	                          "Wed, 15-May 2024 10:31:30 GMT",
	                          "Wed May 15 10:31:30",
	                          "Wed, 15 May 9999 10:31:30 GMT",
	                          "2024-05-15T10:31:30Z"})
		EXPECT_EQ(parse_retry_after(value, now), std::nullopt) << value;
}

TEST(HttpDate, ReadsTheExamplesOfTheStandard) {
	WallTime expected = sys_days(1994y / 11 / 6) + 8h + 49min + 37s;
	EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", now), expected);
	EXPECT_EQ(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", now), expected);
	EXPECT_EQ(parse_http_date("Sun Nov  6 08:49:37 1994", now), expected);
}

TEST(HttpDate, AYearOfTwoDigitsIsAtMostFiftyYearsAhead) {
	auto year_of = [](const char *text) { return year_month_day(floor<days>(*parse_http_date(text, now))).year(); };
	EXPECT_EQ(year_of("Sunday, 06-Nov-74 08:49:37 GMT"), 2074y);
	EXPECT_EQ(year_of("Sunday, 06-Nov-75 08:49:37 GMT"), 1975y);
	EXPECT_EQ(year_of("Sunday, 06-Nov-00 08:49:37 GMT"), 2000y);
}

// -- rate limit headers

TEST(RateLimit, StructuredFields) {
	EXPECT_EQ(rate_limit({{"ratelimit", "\"default\";r=0;t=30"}}), 30s);
	EXPECT_EQ(rate_limit({{"RateLimit", "\"default\" ; r=0 ; t=30"}}), 30s) << "names have no case";
	EXPECT_EQ(rate_limit({{"ratelimit", "default;t=12;r=0;pk=:cHNsZGtk:"}}), 12s);
}

TEST(RateLimit, NothingIsWaitedForWhileSomethingRemains) {
	EXPECT_EQ(rate_limit({{"ratelimit", "\"default\";r=50;t=30"}}), std::nullopt);
	EXPECT_EQ(rate_limit({{"x-ratelimit-remaining", "1"}, {"x-ratelimit-reset", "30"}}), std::nullopt);
	EXPECT_EQ(rate_limit({}), std::nullopt);
}

TEST(RateLimit, OfSeveralLimitsTheLongestExhaustedOneCounts) {
	EXPECT_EQ(rate_limit({{"ratelimit", "\"burst\";r=0;t=5, \"daily\";r=100;t=3600"}}), 5s);
	EXPECT_EQ(rate_limit({{"ratelimit", "\"burst\";r=0;t=5"}, {"ratelimit", "\"hour\";r=0;t=3600"}}), 3600s);
	EXPECT_EQ(rate_limit({{"ratelimit", "\"a\";r=0;t=5"}, {"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "7"}}),
	          7s);
}

TEST(RateLimit, WithoutATimeThePolicysWindowIsTheLongestItCanTake) {
	EXPECT_EQ(rate_limit({{"ratelimit", "\"burst\";r=0"},
	                      {"ratelimit-policy", "\"burst\";q=100;w=60,\"daily\";q=1000;w=86400"}}),
	          60s);
	EXPECT_EQ(rate_limit({{"ratelimit", "\"burst\";r=0"}, {"ratelimit-policy", "\"daily\";q=1000;w=86400"}}),
	          std::nullopt);
	EXPECT_EQ(rate_limit({{"ratelimit-policy", "\"burst\";q=100;w=60"}}), std::nullopt)
	    << "a policy alone says nothing of now";
}

TEST(RateLimit, NamesMayHoldSeparators) {
	EXPECT_EQ(rate_limit({{"ratelimit", R"("a,b;r=9\"";r=0;t=3)"}}), 3s);
}

TEST(RateLimit, TheOlderDrafts) {
	EXPECT_EQ(rate_limit({{"ratelimit", "limit=100, remaining=0, reset=50"}}), 50s);
	EXPECT_EQ(rate_limit({{"ratelimit", "limit=100, remaining=3, reset=50"}}), std::nullopt);
	EXPECT_EQ(rate_limit({{"ratelimit-remaining", "0"}, {"ratelimit-reset", "50"}}), 50s);
}

TEST(RateLimit, ResetInEveryUnitThatIsInUse) {
	auto reset = [](const char *value) {
		return rate_limit({{"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", value}});
	};
	EXPECT_EQ(reset("42"), 42s);
	EXPECT_EQ(reset("0.5"), 500ms);
	EXPECT_EQ(reset("1715769042"), 42s) << "seconds since 1970";
	EXPECT_EQ(reset("1715769042.25"), 42250ms);
	EXPECT_EQ(reset("1715769042250"), 42250ms) << "milliseconds since 1970";
	EXPECT_EQ(reset("Wed, 15 May 2024 10:30:42 GMT"), 42s);
	EXPECT_EQ(reset("1715768000"), 0s) << "past";
}

TEST(RateLimit, OtherSpellings) {
	EXPECT_EQ(rate_limit({{"X-Rate-Limit-Remaining", "0"}, {"X-Rate-Limit-Reset", "9"}}), 9s);
	EXPECT_EQ(rate_limit({{"x-sib-ratelimit-remaining", "0"}, {"x-sib-ratelimit-reset", "9"}}), 9s);
}

TEST(RateLimit, MalformedIsNotSaid) {
	for (const char *value :
	     {"", ";", "\"", "\"default", "\"default\";r=0;t=x", "\"default\";r=;t=5", ";r", "a;r=0;t", "=,=;=", "\\"})
		EXPECT_EQ(rate_limit({{"ratelimit", value}}), std::nullopt) << value;
	EXPECT_EQ(rate_limit({{"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "soon"}}), std::nullopt);
	EXPECT_EQ(rate_limit({{"x-ratelimit-remaining", "none"}, {"x-ratelimit-reset", "5"}}), std::nullopt);
	EXPECT_EQ(rate_limit({{"x-ratelimit-remaining", "0"}}), std::nullopt);
	EXPECT_EQ(rate_limit({{"x-ratelimit-reset", "5"}}), std::nullopt);
}

} // namespace
