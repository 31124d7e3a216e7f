#pragma once

#include <optional>
#include <string_view>

#include "core/schedule.hpp"
#include "pg/postgres.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

namespace courier::pg {

// parse_schedule, and that the time zone exists.
Schedule read_schedule(std::string_view text);

// The first slot later than `after`; nullopt for schedules that time does not start (manual, after), and for a cron
// expression that never matches. `every` counts from `after`.
std::optional<TimestampTz> next_run(const Schedule &schedule, TimestampTz after);

// The slot that follows `slot`, later than `now` as well: slots that were missed are one run, and `every` keeps its phase.
std::optional<TimestampTz> next_slot(const Schedule &schedule, TimestampTz slot, TimestampTz now);

} // namespace courier::pg
