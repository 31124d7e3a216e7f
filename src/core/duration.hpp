#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace courier {

// Intervals in settings are text, as a person writes them to PostgreSQL: "30 s", "15 min", "1 day 2 hours", "00:05:00".
// Everything that is accepted here is also accepted, with the same meaning, by a cast to interval.
//
// Calendar::allowed adds months and years (counted as 30 and 365 days here), for settings that are kept as text and that
// PostgreSQL evaluates. `setting` is how errors (22023) name what was being read, for example: option "timeout".
enum class Calendar { refused, allowed };
std::chrono::milliseconds parse_duration(std::string_view text, std::string_view setting,
                                         Calendar calendar = Calendar::refused);

// "100/s", "300/min", "5000/hour", also over several units: "190/10 s". Requests per second, always over 0.
double parse_rate(std::string_view text, std::string_view setting);

// "1 day 2 hours", "250 ms", "0 s": for messages; parse_duration reads it back.
std::string duration_text(std::chrono::milliseconds duration);

} // namespace courier
