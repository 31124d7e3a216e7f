#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string_view>

#include "core/transport.hpp"

namespace courier {

using WallTime = std::chrono::system_clock::time_point;

// Exponential backoff with full jitter: anything from nothing to base, 2 base, 4 base, ... but never over cap. `attempt` is
// the number of the attempt that has failed, from 1; `uniform` is drawn from [0, 1).
std::chrono::milliseconds backoff(int attempt, std::chrono::milliseconds base, std::chrono::milliseconds cap,
                                  double uniform);

// The date forms of RFC 9110: "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994".
std::optional<WallTime> parse_http_date(std::string_view text, WallTime now);

// The value of a Retry-After header as the time left to wait: seconds, also with a fraction, or a date. Never negative:
// zero means "now" (a date in the past), so a caller that could loop on it keeps its own floor. nullopt: malformed.
std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view value, WallTime now);

// How long a destination's rate limit headers ask us to wait. Only when they say that nothing remains; of several limits
// the longest wait counts. Understood are the structured fields RateLimit and RateLimit-Policy ("default";r=0;t=30), their
// older form (limit=10, remaining=0, reset=30), and pairs such as X-RateLimit-Remaining and X-RateLimit-Reset, where reset is
// seconds, seconds or milliseconds since 1970, or a date.
std::optional<std::chrono::milliseconds> parse_rate_limit(std::span<const Header> headers, WallTime now);

// How long after its `attempts`th failed attempt (from 1) a rejected record rests, unless its values change: one minute,
// doubling to a day.
std::chrono::milliseconds next_attempt_delay(int attempts);

} // namespace courier
