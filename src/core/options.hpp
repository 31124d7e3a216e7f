#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace courier {

// "20%" or a count. Exceeded by more than that, not by exactly that.
struct Threshold {
	std::optional<double> share;
	std::optional<std::uint64_t> count;
	bool exceeded(std::uint64_t value, std::uint64_t total) const;
};

enum class LogRequests { none, failed, all };
enum class LogRecords { none, failed, all, payload };
// For schedules "after <sync>": which end of that sync keeps this one from being started.
enum class StopOn { failed, warning, never };

// Engine settings of a sync (interface.md, "options"). Every key is optional; unknown keys and bad values are Errors
// (22023) that name the option and what is allowed.
struct SyncOptions {
	std::size_t batch_size = 0;  // 0: the destination's
	std::size_t concurrency = 0; // 0: the destination's
	std::optional<double> requests_per_second;
	std::chrono::milliseconds timeout {30000};
	int max_attempts = 5;
	bool changed_fields_only = false;
	std::optional<Threshold> max_removed; // unset: 50% of a snapshot of 1,000 or more
	std::optional<Threshold> max_changes;
	Threshold max_rejected {0.9, {}};
	std::chrono::milliseconds max_wait {15 * 60 * 1000};
	std::chrono::milliseconds max_job_time {60 * 60 * 1000}; // a job at the destination is waited for
	bool remove_despite_null_keys = false; // null_keys = remove
	std::optional<std::string> remember;   // interval as text, for events and insert mode
	std::string time_zone = "UTC";
	LogRequests log_requests = LogRequests::failed;
	LogRecords log_records = LogRecords::all;
	std::optional<std::string> retention; // interval as text; see log_retention_minutes
	int workers = 1;
	StopOn stop_on = StopOn::failed;
};

SyncOptions parse_options(const nlohmann::json &options);

// `retention` in whole minutes, rounded up; 0: the server's is used. Logs are kept apart by it.
int log_retention_minutes(const SyncOptions &options);

// The allowed name that `name` is most likely a misspelling of (letters missing, extra, wrong or exchanged); empty when
// none is close. For hints.
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> allowed);

} // namespace courier
