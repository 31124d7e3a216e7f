#pragma once

#include "pg/postgres.hpp"

// Run workers that have nothing to do, and stay a while because the next run is often near: a worker that has run before
// begins one in milliseconds, a new process needs a hundred.
namespace courier::pg::idle {

// For whoever has queued runs and committed: wakes up to `count` idle workers of the database, and says how many. Raises no
// error. prepare() before, where errors are allowed.
void prepare();
int wake(Oid database, int count) noexcept;

// Asks the idle workers of all databases to leave, because somebody needs a worker slot. How many were asked.
int displace() noexcept;

// Whether worker slots are left for others when so many more are taken. Raises errors.
bool slots_to_spare(int more);

// In the worker.
void begin();            // once
bool may_stay(int runs); // after so many runs of this process; false: it is to leave
enum class Woken {
	look, // somebody may have queued a run
	last, // time to leave; after a last look, because somebody may have seen it waiting
	gone  // to leave at once
};
Woken wait(TimestampTz until); // outside a transaction, with no lease

} // namespace courier::pg::idle
