#pragma once

#include "pg/postgres.hpp"

extern "C" {
#include "storage/lock.h"
}

// Leases: session-level locks in lock classes of our own, which PostgreSQL drops whenever and however their holder dies.
// They are what "is running" means; tables only say what was running when somebody last looked.
namespace courier::pg::locks {

LOCKTAG lease(int32 sync_id);   // this database: held by the worker that runs the sync
LOCKTAG helpers(int32 sync_id); // this database: shared by the helpers of the worker that runs the sync
LOCKTAG scheduler();            // this database: held by its scheduler
LOCKTAG housekeeping();         // this database: held while partitions are made
LOCKTAG running_slot(int slot); // whole cluster, 1 .. pg_courier.max_running_syncs: held by every running sync

// Takes the lock for this session, or says at once that somebody else has it. Taking it twice is a mistake of the caller.
bool try_acquire(const LOCKTAG &tag);
void release(const LOCKTAG &tag);
// Whether anybody holds it, this process included. Never makes a try_acquire of somebody else fail.
bool is_held(const LOCKTAG &tag);
// Whether this process still holds it: SQL of a user that calls pg_advisory_unlock_all() takes it away.
bool held_here(const LOCKTAG &tag);

// A lock that several share, with helpers() alone.
void join(const LOCKTAG &tag); // waits for whoever wants to be alone
void leave(const LOCKTAG &tag);
bool joined_here(const LOCKTAG &tag);
bool has_members(const LOCKTAG &tag);
// Keeps others from joining, until leave_alone(); once those who had joined have left. try_alone: false: they have not.
void be_alone(const LOCKTAG &tag);
bool try_alone(const LOCKTAG &tag);
void leave_alone(const LOCKTAG &tag);

} // namespace courier::pg::locks
