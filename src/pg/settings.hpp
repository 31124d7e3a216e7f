#pragma once

// The settings of pg_courier (interface.md, "Settings"). PostgreSQL writes them through the pointers it was given, so they
// are plain variables; everybody else only reads.
namespace courier::pg::settings {

extern bool enabled;
extern char *allow_addresses;
extern char *secrets_directory;
extern char *secret_env;
extern int max_running_syncs;
extern int log_retention; // minutes
extern int poll_interval;    // milliseconds
extern int worker_idle_time; // milliseconds
extern int worker_nice;
#ifdef COURIER_FAULT_POINTS
extern char *fault_point;
#endif

inline constexpr int most_running_syncs = 64;

// Called once, by _PG_init.
void define();

// A run worker, when it has connected: it, and the parallel workers of its queries from now on, give way to other processes
// by pg_courier.worker_nice. What the operating system does not allow is left.
void be_nice();

} // namespace courier::pg::settings
