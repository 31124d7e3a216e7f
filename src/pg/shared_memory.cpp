#include "pg/shared_memory.hpp"

#include <algorithm>

extern "C" {
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
}

// One array, one LWLock. Nothing raises an error while the lock is held, and no other lock is taken under it.
// A process is woken by looking up the PGPROC of a pid: one that is gone is simply not found, and one that got a recycled pid
// is woken for nothing, which every PostgreSQL process tolerates.

namespace courier::pg::shared {

namespace {

constexpr const char *tranche = "pg_courier";

struct Memory {
	LWLock *lock; // in the main LWLock array, at the same address in every process
	int launcher_pid;
	int count;
	Database databases[most_databases];
};

Memory *memory = nullptr;

class Guarded {
public:
	explicit Guarded(LWLockMode mode) { LWLockAcquire(memory->lock, mode); }
	~Guarded() { LWLockRelease(memory->lock); }
	Guarded(const Guarded &) = delete;
	Guarded &operator=(const Guarded &) = delete;
};

Database *find(Oid oid) {
	auto *end = memory->databases + memory->count;
	auto *found = std::find_if(memory->databases, end, [oid](const Database &d) { return d.oid == oid; });
	return found == end ? nullptr : found;
}

// nullptr when the array is full: the launcher says so once, and that database has no schedules.
Database *find_or_add(Oid oid) {
	if (auto *found = find(oid))
		return found;
	if (memory->count == most_databases)
		return nullptr;
	auto *added = &memory->databases[memory->count++];
	*added = Database {};
	added->oid = oid;
	return added;
}

Database *find_generation(Oid oid, uint32 generation) {
	auto *found = find(oid);
	return found != nullptr && found->generation == generation ? found : nullptr;
}

void wake(int pid) {
	if (pid == 0)
		return;
	if (PGPROC *proc = BackendPidGetProc(pid))
		SetLatch(&proc->procLatch);
}

} // namespace

void request() {
	RequestAddinShmemSpace(MAXALIGN(sizeof(Memory)));
	RequestNamedLWLockTranche(tranche, 1);
}

void startup() {
	bool found = false;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	memory = static_cast<Memory *>(ShmemInitStruct("pg_courier", sizeof(Memory), &found));
	if (!found) {
		memset(memory, 0, sizeof(Memory));
		memory->lock = &GetNamedLWLockTranche(tranche)->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

bool available() {
	return memory != nullptr;
}

void set_launcher(int pid) {
	if (!available())
		return;
	Guarded guarded(LW_EXCLUSIVE);
	memory->launcher_pid = pid;
}

void wake_launcher() {
	if (!available())
		return;
	int pid = 0;
	{
		Guarded guarded(LW_SHARED);
		pid = memory->launcher_pid;
	}
	wake(pid);
}

int copy_databases(Database *out) {
	if (!available())
		return 0;
	Guarded guarded(LW_SHARED);
	std::copy_n(memory->databases, memory->count, out);
	return memory->count;
}

void forget(Oid database) {
	if (!available())
		return;
	Guarded guarded(LW_EXCLUSIVE);
	if (auto *found = find(database))
		*found = memory->databases[--memory->count];
}

void want(Oid database) {
	if (!available())
		return;
	int scheduler_pid = 0, launcher_pid = 0;
	{
		Guarded guarded(LW_EXCLUSIVE);
		if (auto *entry = find_or_add(database)) {
			entry->wanted = true;
			if (entry->state == DatabaseState::running)
				scheduler_pid = entry->scheduler_pid;
		}
		launcher_pid = memory->launcher_pid;
	}
	wake(scheduler_pid != 0 ? scheduler_pid : launcher_pid);
}

void hold(Oid database, int pid) {
	if (!available())
		return;
	Guarded guarded(LW_EXCLUSIVE);
	if (auto *entry = find_or_add(database))
		entry->held_by = pid;
}

int held_by(Oid database) {
	if (!available())
		return 0;
	Guarded guarded(LW_SHARED);
	const auto *entry = find(database);
	return entry != nullptr ? entry->held_by : 0;
}

uint32 attach(Oid database, TimestampTz *housekept_at) {
	*housekept_at = 0;
	if (!available())
		return 0;
	Guarded guarded(LW_EXCLUSIVE);
	auto *entry = find_or_add(database);
	if (entry == nullptr)
		return 0;
	entry->state = DatabaseState::running;
	entry->scheduler_pid = MyProcPid;
	*housekept_at = entry->housekept_at;
	return ++entry->generation;
}

void begin_pass(Oid database, uint32 generation) {
	if (!available())
		return;
	Guarded guarded(LW_EXCLUSIVE);
	if (auto *entry = find_generation(database, generation))
		entry->wanted = false;
}

void housekept(Oid database, TimestampTz at) {
	if (!available())
		return;
	Guarded guarded(LW_EXCLUSIVE);
	if (auto *entry = find(database))
		entry->housekept_at = at;
}

bool leave(Oid database, uint32 generation, DatabaseState state, TimestampTz next_due) {
	if (!available())
		return true;
	int launcher_pid = 0;
	{
		Guarded guarded(LW_EXCLUSIVE);
		auto *entry = find_generation(database, generation);
		if (entry == nullptr)
			return true; // replaced, or the database is being dropped
		if (entry->wanted)
			return false;
		entry->state = state;
		entry->scheduler_pid = 0;
		entry->next_due = next_due;
		launcher_pid = memory->launcher_pid;
	}
	wake(launcher_pid); // it may have planned to sleep longer than next_due
	return true;
}

void detach(Oid database, uint32 generation) {
	if (!available())
		return;
	Guarded guarded(LW_EXCLUSIVE);
	auto *entry = find_generation(database, generation);
	if (entry != nullptr && entry->state == DatabaseState::running) {
		entry->state = DatabaseState::unknown;
		entry->scheduler_pid = 0;
	}
}

} // namespace courier::pg::shared
