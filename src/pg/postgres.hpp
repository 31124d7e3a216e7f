#pragma once

// The one way in which our C++ includes PostgreSQL. C++ standard headers come first, because postgres.h turns the
// printf family into macros, after which <cstdio> and friends no longer parse. Further server headers go into an extern
// "C" block of their own, after this file.

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <exception>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

// The server's inline functions are not written for -Wextra, and files include more of its headers after this one.
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"

// A server without translations has macros of these names, which the header must not meet later: the standard library includes it.
#if __has_include(<libintl.h>)
#include <libintl.h>
#endif

extern "C" {
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
}

// We build with hidden visibility, and up to PostgreSQL 15 this is empty.
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))

// std::snprintf must stay std::snprintf.
#undef printf
#undef fprintf
#undef sprintf
#undef snprintf
#undef vprintf
#undef vfprintf
#undef vsprintf
#undef vsnprintf
#undef strerror
#undef strerror_r
#undef _

#include "pg/compat.h"

// An SQL-callable entry point: C linkage, the only kind of symbol that the library shows.
#define COURIER_FUNCTION(name)                                                                                         \
	extern "C" {                                                                                                       \
	PG_FUNCTION_INFO_V1(name);                                                                                         \
	PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                                          \
	}                                                                                                                  \
	extern "C" Datum name(PG_FUNCTION_ARGS)
