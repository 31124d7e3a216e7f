#pragma once

#include "pg/postgres.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

// What launcher, schedulers and sessions tell each other. Hints only: whatever is lost here (a restart) is found again by
// looking into the databases. Plain data without pointers, so a process that dies leaves nothing dangling. Exists only with
// shared_preload_libraries; without it every function does nothing, and nobody has to ask first.
namespace courier::pg::shared {

enum class DatabaseState : int32 {
	unknown,      // nobody has looked since the server started, or the one who did died
	no_extension, // a scheduler found none; CREATE EXTENSION says so when it commits
	running,      // a scheduler is at work
	idle          // nothing to do before next_due
};

struct Database {
	Oid oid;
	DatabaseState state;
	bool wanted; // something was committed that a scheduler should look at
	int scheduler_pid;
	uint32 generation; // of the scheduler: a late word of its predecessor is ignored
	int held_by;       // pid of the session that drops, copies or renames the database; 0: none
	TimestampTz next_due;
	TimestampTz housekept_at;
};

inline constexpr int most_databases = 4096;
inline constexpr TimestampTz never = DT_NOEND; // later than any time

void request(); // shmem_request_hook
void startup(); // shmem_startup_hook
bool available();

// Launcher
void set_launcher(int pid);
void wake_launcher();
int copy_databases(Database *out); // room for most_databases
void forget(Oid database);

// Sessions. want() is called after a commit, where nothing may raise an error, and raises none.
void want(Oid database);
void hold(Oid database, int pid); // pid 0: let go
int held_by(Oid database);

// Scheduler
uint32 attach(Oid database, TimestampTz *housekept_at);
void begin_pass(Oid database, uint32 generation); // what is wanted from now on is for the next pass
void housekept(Oid database, TimestampTz at);
// False when something was wanted since begin_pass(): there is another pass to make.
bool leave(Oid database, uint32 generation, DatabaseState state, TimestampTz next_due);
void detach(Oid database, uint32 generation); // on the way out; changes nothing after leave()

} // namespace courier::pg::shared
