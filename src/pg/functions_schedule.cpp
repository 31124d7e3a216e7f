#include "pg/guard.hpp"
#include "pg/scheduler.hpp"
#include "pg/spi.hpp"

extern "C" {
#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"
}

// Cron expressions speak of a wall clock; this file finds the moments. A wall clock skips an hour in spring and repeats one
// in autumn:
//
// - Expressions that name hours ("30 2 * * *") happen once for every time they name: at the first of two equal times, and
//   in spring, when 02:30 does not exist, as much after the gap as they are after its beginning (03:30).
// - Expressions for every hour ("*/5 * * * *") follow the time that passes: no pause of an hour, nothing twice.
//
// Without a time zone in the schedule the wall clock is UTC, not the session's setting: the scheduler and a user who asks
// for next_run must get the same answer.

namespace courier::pg {

namespace {

pg_tz *find_zone(const std::string &name) {
	return call_postgres([&] { return pg_tzset(name.empty() ? "UTC" : name.c_str()); });
}

struct Local {
	CivilTime civil;
	int offset; // seconds, as PostgreSQL counts: positive is west
};

Local to_local(TimestampTz moment, pg_tz *zone) {
	struct pg_tm tm;
	fsec_t fraction;
	int offset = 0;
	const int failed = call_postgres([&] { return timestamp2tm(moment, &offset, &tm, &fraction, nullptr, zone); });
	if (failed != 0)
		throw Error("22008", "timestamp out of range");
	return {{tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min}, offset};
}

struct pg_tm to_tm(const CivilTime &civil) {
	struct pg_tm tm;
	memset(&tm, 0, sizeof tm);
	tm.tm_year = civil.year;
	tm.tm_mon = civil.month;
	tm.tm_mday = civil.day;
	tm.tm_hour = civil.hour;
	tm.tm_min = civil.minute;
	return tm;
}

TimestampTz at_offset(const CivilTime &civil, int offset) {
	struct pg_tm tm = to_tm(civil);
	TimestampTz moment = 0;
	if (call_postgres([&] { return tm2timestamp(&tm, 0, &offset, &moment); }) != 0)
		throw Error("22008", "timestamp out of range");
	return moment;
}

// PostgreSQL moves a time in the gap forward, as wanted, and takes the second of two equal times.
TimestampTz first_moment(const CivilTime &civil, pg_tz *zone) {
	struct pg_tm tm = to_tm(civil);
	const int offset = call_postgres([&] { return DetermineTimeZoneOffset(&tm, zone); });
	const TimestampTz moment = at_offset(civil, offset);
	const int offset_before = to_local(moment - 3 * USECS_PER_HOUR, zone).offset;
	if (offset_before != offset) {
		const TimestampTz earlier = at_offset(civil, offset_before);
		if (earlier < moment && to_local(earlier, zone).civil == civil)
			return earlier;
	}
	return moment;
}

CivilTime a_minute_before(const CivilTime &civil) {
	return to_local(at_offset(civil, 0) - USECS_PER_MINUTE, find_zone("")).civil;
}

std::optional<TimestampTz> next_cron(const CronExpression &cron, pg_tz *zone, TimestampTz after) {
	const Local local = to_local(after, zone);
	std::optional<CivilTime> civil = next(cron, local.civil);
	if (civil && cron.hours.all()) {
		const TimestampTz moment = at_offset(*civil, local.offset);
		const CivilTime shown = to_local(moment, zone).civil;
		if (next(cron, a_minute_before(shown)) == shown)
			return moment;
	}
	while (civil) {
		const TimestampTz moment = first_moment(*civil, zone);
		if (moment > after)
			return moment;
		civil = next(cron, *civil);
	}
	return std::nullopt;
}

TimestampTz interval_of(const Schedule &schedule) {
	return std::max<TimestampTz>(schedule.interval.count() * 1000, USECS_PER_SEC);
}

} // namespace

Schedule read_schedule(std::string_view text) {
	Schedule schedule = parse_schedule(text);
	if (schedule.kind == ScheduleKind::cron && find_zone(schedule.time_zone) == nullptr)
		throw Error("22023",
		            "schedule \"" + std::string(text) + "\": time zone \"" + schedule.time_zone + "\" does not exist",
		            "A time zone is a name of the view pg_timezone_names; without one the schedule is in UTC.",
		            "For example: 30 6 * * 1-5 Europe/Berlin.");
	return schedule;
}

std::optional<TimestampTz> next_run(const Schedule &schedule, TimestampTz after) {
	if (TIMESTAMP_NOT_FINITE(after))
		throw Error("22023", "next_run needs a finite time");
	switch (schedule.kind) {
	case ScheduleKind::every:
		return after + interval_of(schedule);
	case ScheduleKind::cron:
		return next_cron(schedule.cron, find_zone(schedule.time_zone), after);
	case ScheduleKind::manual:
	case ScheduleKind::after:
		break;
	}
	return std::nullopt;
}

std::optional<TimestampTz> next_slot(const Schedule &schedule, TimestampTz slot, TimestampTz now) {
	if (schedule.kind == ScheduleKind::every && slot <= now) {
		const TimestampTz interval = interval_of(schedule);
		return slot + ((now - slot) / interval + 1) * interval;
	}
	return next_run(schedule, std::max(slot, now));
}

} // namespace courier::pg

COURIER_FUNCTION(courier_check_schedule) {
	using namespace courier;
	return pg::enter_cpp([&] {
		const Schedule schedule = pg::read_schedule(pg::text_argument(fcinfo, 0));
		return pg::text_datum(to_text(schedule.kind));
	});
}

COURIER_FUNCTION(courier_next_run) {
	using namespace courier;
	return pg::enter_cpp([&]() -> Datum {
		const Schedule schedule = pg::read_schedule(pg::text_argument(fcinfo, 0));
		const auto next = pg::next_run(schedule, PG_GETARG_TIMESTAMPTZ(1));
		if (!next)
			PG_RETURN_NULL();
		return TimestampTzGetDatum(*next);
	});
}

COURIER_FUNCTION(courier_schedule_after) {
	using namespace courier;
	return pg::enter_cpp([&]() -> Datum {
		const Schedule schedule = pg::read_schedule(pg::text_argument(fcinfo, 0));
		if (schedule.kind != ScheduleKind::after)
			PG_RETURN_NULL();
		return pg::text_datum(schedule.after);
	});
}
