#include "core/options.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

using namespace courier;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

SyncOptions parse(const char *text) {
	return parse_options(json::parse(text));
}

Error error_of(const char *text) {
	try {
		parse(text);
	} catch (const Error &error) {
		return error;
	}
	return Error("", std::string("accepted: ") + text);
}

TEST(Options, AreAllOptional) {
	SyncOptions options = parse("{}");
	EXPECT_EQ(options.batch_size, 0u) << "the destination's";
	EXPECT_EQ(options.concurrency, 0u) << "the destination's";
	EXPECT_EQ(options.requests_per_second, std::nullopt);
	EXPECT_EQ(options.timeout, 30s);
	EXPECT_EQ(options.max_attempts, 5);
	EXPECT_FALSE(options.changed_fields_only);
	EXPECT_FALSE(options.max_removed);
	EXPECT_FALSE(options.max_changes);
	EXPECT_EQ(options.max_rejected.share, 0.9);
	EXPECT_EQ(options.max_wait, 15min);
	EXPECT_FALSE(options.remove_despite_null_keys);
	EXPECT_EQ(options.remember, std::nullopt) << "for ever";
	EXPECT_EQ(options.time_zone, "UTC");
	EXPECT_EQ(options.log_requests, LogRequests::failed);
	EXPECT_EQ(options.log_records, LogRecords::all);
	EXPECT_EQ(options.retention, std::nullopt);
	EXPECT_EQ(log_retention_minutes(options), 0);
	EXPECT_EQ(options.workers, 1);
	EXPECT_EQ(options.stop_on, StopOn::failed);
	EXPECT_EQ(parse("null").max_attempts, 5);
	EXPECT_EQ(parse(R"({"max_attempts": null})").max_attempts, 5) << "null is the default";
}

TEST(Options, AreReadWithTheirTypes) {
	SyncOptions options = parse(R"({
		"batch_size": 500, "concurrency": 16, "rate_limit": "300/min", "timeout": "10 s", "max_attempts": 3,
		"changed_fields_only": true, "max_removed": "20%", "max_changes": 1000, "max_rejected": "50%", "max_wait": "1 hour",
		"null_keys": "remove", "remember": "1 year", "time_zone": "Europe/Berlin", "log_requests": "all",
		"log_records": "payload", "retention": "90 days", "workers": 4, "stop_on": "warning"})");
	EXPECT_EQ(options.batch_size, 500u);
	EXPECT_EQ(options.concurrency, 16u);
	EXPECT_EQ(options.requests_per_second, 5.0);
	EXPECT_EQ(options.timeout, 10s);
	EXPECT_EQ(options.max_attempts, 3);
	EXPECT_TRUE(options.changed_fields_only);
	ASSERT_TRUE(options.max_removed);
	EXPECT_EQ(options.max_removed->share, 0.2);
	ASSERT_TRUE(options.max_changes);
	EXPECT_EQ(options.max_changes->count, 1000u);
	EXPECT_EQ(options.max_rejected.share, 0.5);
	EXPECT_EQ(options.max_rejected.count, std::nullopt);
	EXPECT_EQ(options.max_wait, 1h);
	EXPECT_TRUE(options.remove_despite_null_keys);
	EXPECT_EQ(options.remember, "1 year");
	EXPECT_EQ(options.time_zone, "Europe/Berlin");
	EXPECT_EQ(options.log_requests, LogRequests::all);
	EXPECT_EQ(options.log_records, LogRecords::payload);
	EXPECT_EQ(options.retention, "90 days");
	EXPECT_EQ(log_retention_minutes(options), 90 * 24 * 60);
	EXPECT_EQ(options.workers, 4);
	EXPECT_EQ(options.stop_on, StopOn::warning);
}

TEST(Options, BoundsAreInclusive) {
	EXPECT_EQ(parse(R"({"batch_size": 1})").batch_size, 1u);
	EXPECT_EQ(parse(R"({"batch_size": 100000})").batch_size, 100000u);
	EXPECT_EQ(parse(R"({"batch_size": 100.0})").batch_size, 100u);
	EXPECT_EQ(parse(R"({"timeout": "1 ms"})").timeout, 1ms);
	EXPECT_EQ(parse(R"({"timeout": "1 hour"})").timeout, 1h);
	EXPECT_EQ(parse(R"({"max_wait": "0 s"})").max_wait, 0s);
	for (const char *text :
	     {R"({"batch_size": 0})", R"({"batch_size": 100001})", R"({"batch_size": -1})", R"({"batch_size": 1.5})",
	      R"({"batch_size": "100"})", R"({"batch_size": 18446744073709551615})", R"({"batch_size": 1e300})",
	      R"({"concurrency": 0})", R"({"concurrency": 257})", R"({"max_attempts": 0})", R"({"max_attempts": 101})",
	      R"({"workers": 0})", R"({"workers": 17})", R"({"timeout": "0 s"})", R"({"timeout": "61 min"})",
	      R"({"timeout": 30})", R"({"max_wait": "8 days"})"})
		EXPECT_EQ(error_of(text).sqlstate, "22023") << error_of(text).message;
}

TEST(Options, AnErrorSaysWhatWasWrongWhatIsAllowedAndWhatToDo) {
	Error error = error_of(R"({"batch_size": 0})");
	EXPECT_EQ(error.message, "option \"batch_size\": 0 is not allowed");
	EXPECT_EQ(error.detail, "\"batch_size\" is a whole number from 1 to 100000.");

	error = error_of(R"({"timeout": 30})");
	EXPECT_EQ(error.message, "option \"timeout\": 30 is not allowed");
	EXPECT_EQ(error.detail, "\"timeout\" is an interval as text, from \"1 ms\" to \"1 hour\".");
	EXPECT_EQ(error.hint, "Name the unit, for example \"30 s\".");

	error = error_of(R"({"timeout": "soon"})");
	EXPECT_EQ(error.message, "option \"timeout\": \"soon\" is not an interval");

	error = error_of(R"({"log_requests": "fail"})");
	EXPECT_EQ(error.message, "option \"log_requests\": \"fail\" is not allowed");
	EXPECT_EQ(error.detail, "\"log_requests\" is one of \"none\", \"failed\", \"all\".");

	error = error_of(R"({"log_records": "payloads"})");
	EXPECT_EQ(error.hint, "Did you mean \"payload\"?");
}

TEST(Options, AnUnknownKeyIsAnErrorThatListsTheKeys) {
	Error error = error_of(R"({"batchsize": 5})");
	EXPECT_EQ(error.sqlstate, "22023");
	EXPECT_EQ(error.message, "there is no option \"batchsize\"");
	EXPECT_EQ(error.detail,
	          "Options are batch_size, concurrency, rate_limit, timeout, max_attempts, changed_fields_only, "
	          "max_removed, max_changes, max_rejected, max_wait, max_job_time, null_keys, remember, time_zone, log_requests, "
	          "log_records, retention, workers, stop_on, window, jitter.");
	EXPECT_EQ(error.hint, "Did you mean \"batch_size\"?");
	EXPECT_EQ(error_of(R"({"base_url": "x"})").hint, "Settings of the destination belong in config.");
	EXPECT_EQ(error_of(R"({"": 1})").sqlstate, "22023");
	EXPECT_EQ(error_of(R"({"nope": null})").sqlstate, "22023");
}

TEST(Options, MustBeAnObject) {
	for (const char *text : {"[]", "1", "\"batch_size\"", "true"})
		EXPECT_EQ(error_of(text).sqlstate, "22023");
}

TEST(Options, EveryValueOfTheWrongTypeIsAnError) {
	for (const char *key : {"batch_size", "concurrency", "rate_limit", "timeout", "max_attempts", "changed_fields_only",
	                        "max_removed", "max_changes", "max_rejected", "max_wait", "max_job_time", "null_keys", "remember",
	                        "time_zone", "log_requests", "log_records", "retention", "workers", "stop_on"})
		for (const char *value : {"[]", "{}", "-1", "\"\"", "\"%\""}) {
			if (std::string(key) == "time_zone" && value == std::string("\"%\""))
				continue; // PostgreSQL knows which zones there are
			std::string text = std::string("{\"") + key + "\": " + value + "}";
			Error error = error_of(text.c_str());
			EXPECT_EQ(error.sqlstate, "22023") << error.message;
			EXPECT_NE(error.message.find(key), std::string::npos) << error.message;
			EXPECT_FALSE(error.detail.empty()) << error.message;
		}
}

TEST(Options, RetentionCountsInWholeMinutes) {
	EXPECT_EQ(log_retention_minutes(parse_options({{"retention", "61 s"}})), 2);
	EXPECT_EQ(log_retention_minutes(parse_options({{"retention", "1 month"}})), 30 * 24 * 60);
	EXPECT_EQ(log_retention_minutes(parse_options({{"retention", "1000 years"}})), 1000 * 365 * 24 * 60);
}

TEST(Options, IntervalsThatAreKeptMustBeLongerThanZero) {
	EXPECT_EQ(error_of(R"({"retention": "0 s"})").sqlstate, "22023");
	EXPECT_EQ(error_of(R"({"remember": "-1 day"})").sqlstate, "22023");
	EXPECT_EQ(error_of(R"({"retention": 30})").hint, "Name the unit, for example \"30 days\".");
}

TEST(Threshold, IsACountOrAShare) {
	EXPECT_EQ(parse(R"({"max_removed": 0})").max_removed->count, 0u);
	EXPECT_EQ(parse(R"({"max_removed": "500"})").max_removed->count, 500u);
	EXPECT_EQ(parse(R"({"max_removed": "12.5%"})").max_removed->share, 0.125);
	EXPECT_EQ(parse(R"({"max_removed": "20 %"})").max_removed->share, 0.2);
	EXPECT_EQ(parse(R"({"max_removed": "100%"})").max_removed->share, 1.0);
	for (const char *text : {R"({"max_removed": "101%"})", R"({"max_removed": "-1%"})", R"({"max_removed": "1.5"})",
	                         R"({"max_removed": ".5%"})", R"({"max_removed": "1.2.3%"})", R"({"max_removed": 0.5})",
	                         R"({"max_removed": "a lot"})"})
		EXPECT_EQ(error_of(text).sqlstate, "22023") << error_of(text).message;
}

TEST(Threshold, IsExceededByMoreThanItSays) {
	Threshold count {{}, 10};
	EXPECT_FALSE(count.exceeded(10, 1000));
	EXPECT_TRUE(count.exceeded(11, 1000));
	Threshold share {0.2, {}};
	EXPECT_FALSE(share.exceeded(200, 1000));
	EXPECT_TRUE(share.exceeded(201, 1000));
	EXPECT_FALSE(share.exceeded(0, 0));
	EXPECT_TRUE(share.exceeded(1, 0));
	for (unsigned percent = 0; percent <= 100; ++percent) {
		Threshold exact {percent / 100.0, {}};
		EXPECT_FALSE(exact.exceeded(percent, 100)) << percent;
		EXPECT_TRUE(exact.exceeded(percent + 1, 100)) << percent;
	}
	EXPECT_FALSE(Threshold {}.exceeded(1000, 1)) << "nothing set, nothing exceeded";
}

TEST(NearestName, ForgivesSlipsOfTheFinger) {
	constexpr std::string_view names[] {"timeout", "retention", "workers"};
	EXPECT_EQ(nearest_name("timout", names), "timeout");
	EXPECT_EQ(nearest_name("tiemout", names), "timeout");
	EXPECT_EQ(nearest_name("time_out", names), "timeout");
	EXPECT_EQ(nearest_name("worker", names), "workers");
	EXPECT_EQ(nearest_name("banana", names), "");
	EXPECT_EQ(nearest_name("", names), "");
	EXPECT_EQ(nearest_name(std::string(100000, 'x'), names), "");
}

} // namespace
