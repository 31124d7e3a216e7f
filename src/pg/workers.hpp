#pragma once

#include "pg/postgres.hpp"

extern "C" {
#include "postmaster/bgworker.h"
}

// Background workers of pg_courier: how they are registered and what they are told.
namespace courier::pg {

inline constexpr const char *launcher_type = "pg_courier launcher";
inline constexpr const char *scheduler_type = "pg_courier scheduler";
inline constexpr const char *run_worker_type = "pg_courier run worker";
inline constexpr const char *run_helper_type = "pg_courier run helper";

struct RunWorkerArguments {
	Oid database = InvalidOid;
	int64 run_id = 0; // the run it was started for; when somebody else has it, any queued one will do
};

// Registers a run worker. False: no free worker slot; nothing is lost, the run stays queued. Called after commits too,
// so it raises no error.
bool start_run_worker(Oid database, int64 run_id) noexcept;

struct RunHelperArguments {
	Oid database = InvalidOid;
	uint32 memory = 0; // of the team (run_team.cpp), a dsm_handle
	int member = 0; // 1 is the first
};

// From a run worker that starts them one after the other; it is told of their starts and ends. nullptr: no worker slot
// to spare. The handle is in TopMemoryContext.
BackgroundWorkerHandle *start_run_helper(const RunHelperArguments &arguments);

// An idle worker of the database is woken, or one is started. The same holds for it; idle::prepare() was called before.
bool find_run_worker(Oid database, int64 run_id) noexcept;

// In a run worker: what it was started for.
RunWorkerArguments read_arguments();
RunHelperArguments read_helper_arguments();

// Called once, by _PG_init under shared_preload_libraries.
void register_launcher();

// From the launcher: registers a scheduler that reports its start and end to the caller. nullptr: no free worker slot.
// The handle is in TopMemoryContext.
BackgroundWorkerHandle *start_scheduler(Oid database);

// The first lines of every worker main: signal handlers, then the connection (InvalidOid: shared catalogs only; role
// InvalidOid: the bootstrap superuser), then the settings that an ALTER DATABASE must not change for us.
void enter_worker(Oid database, Oid role);

// At the beginning of a transaction: keeps DROP and ALTER EXTENSION out until its end. Taken before any lock on our tables,
// because those commands take their locks in this order. busy (never with `wait`): one of them is under way.
enum class ExtensionLock { locked, busy, no_extension };
ExtensionLock lock_extension(bool wait);

} // namespace courier::pg

// Worker mains.
extern "C" {
PGDLLEXPORT void courier_launcher_main(Datum argument);
PGDLLEXPORT void courier_scheduler_main(Datum argument);
PGDLLEXPORT void courier_run_worker_main(Datum argument);
PGDLLEXPORT void courier_run_helper_main(Datum argument);
}
