#include "pg/idle_worker.hpp"

#include "pg/guard.hpp"
#include "pg/own_memory.hpp"
#include "pg/settings.hpp"
#include "pg/spi.hpp"

extern "C" {
#include "catalog/pg_database.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

// An idle worker says that it is one by the wait event of its only wait, which every process can read in the array of
// processes. So there is no list that could be wrong: a worker that dies says nothing any more, it needs no shared memory
// of ours (without shared_preload_libraries there is none), and reading it can raise no error after a commit.
//
// Races, and what is done about them
//
// - Somebody commits a run and sees a worker idle that is about to leave. He commits first and looks afterwards; the worker
//   stops waiting first and looks into the queue afterwards, also when its time is over. One of the two sees the other.
// - Two commits wake the same worker. It claims one run, and starts workers for the others that it saw in the queue.
// - It is woken for nothing (a barrier, invalidations, a recycled pid): it looks into the queue and waits on.
// - DROP DATABASE and others that want the database alone: with shared_preload_libraries it gets SIGTERM
//   (drop_database.cpp); without, it looks four times a second whether somebody locks the database.
// - Somebody finds no worker slot: SIGUSR2 asks idle workers to leave, which a worker that was woken meanwhile does when it
//   has nothing more to do. They do not take the last slots in the first place.
// - The extension is altered or dropped, settings of the database change: run_worker.cpp asks before the next run.

namespace courier::pg::idle {

namespace {

constexpr int look_at_database_every_ms = 250;
constexpr int slots_left_free = 2;
constexpr int most_runs = 1000; // of one process; caches of the server only grow
constexpr std::size_t most_memory = std::size_t {32} << 20;

uint32 wait_event = 0;
volatile sig_atomic_t asked_to_leave = false;

void on_displaced(SIGNAL_ARGS) {
	const int saved = errno;
	asked_to_leave = true;
	SetLatch(MyLatch);
	errno = saved;
}

bool is_idle(const PGPROC &proc) {
	return proc.pid != 0 && wait_event != 0 &&
	       *const_cast<const volatile uint32 *>(&proc.wait_event_info) == wait_event;
}

struct Workers {
	int idle = 0, used = 0; // run workers that are idle; background workers of anybody
};

Workers count_workers() {
	Workers out;
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++) {
		const PGPROC &proc = ProcGlobal->allProcs[i];
		const int pid = proc.pid;
		if (pid == 0)
			continue;
		out.idle += is_idle(proc) ? 1 : 0;
		out.used += call_postgres([pid] { return GetBackgroundWorkerTypeByPid(pid); }) != nullptr ? 1 : 0;
	}
	return out;
}

// Whether somebody drops, renames or copies the database: a lock that conflicts with theirs can be had.
bool database_is_wanted() {
	Transaction transaction(Isolation::read_committed, false);
	const bool wanted = call_postgres([] {
		LOCKTAG tag;
		SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
		return LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL;
	});
	transaction.commit();
	return wanted;
}

} // namespace

void prepare() {
	if (wait_event == 0)
		wait_event = call_postgres([] { return idle_wait_event(); });
}

int wake(Oid database, int count) noexcept {
	int woken = 0;
	pg_memory_barrier(); // committed, then looked
	for (uint32 i = 0; i < ProcGlobal->allProcCount && woken < count; i++) {
		PGPROC &proc = ProcGlobal->allProcs[i];
		if (proc.databaseId != database || !is_idle(proc) || proc.pid == MyProcPid)
			continue;
		SetLatch(&proc.procLatch);
		woken++;
	}
	return woken;
}

int displace() noexcept {
	int asked = 0;
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++) {
		const PGPROC &proc = ProcGlobal->allProcs[i];
		const int pid = proc.pid;
		if (pid != 0 && pid != MyProcPid && is_idle(proc) && kill(pid, SIGUSR2) == 0)
			asked++;
	}
	return asked;
}

void begin() {
	prepare();
	pqsignal(SIGUSR2, on_displaced);
}

bool may_stay(int runs) {
	if (runs == 0 || runs >= most_runs || asked_to_leave || settings::worker_idle_time == 0 || !settings::enabled)
		return false;
	give_back_memory();
	if (own_memory() > most_memory)
		return false;
	const auto [idle, used] = count_workers();
	return idle < settings::max_running_syncs && used + slots_left_free <= max_worker_processes;
}

bool slots_to_spare(int more) {
	return count_workers().used + more + slots_left_free <= max_worker_processes;
}

Woken wait(TimestampTz until) {
	// A model may have taken session locks, which would stay with us.
	call_postgres([] { LockReleaseAll(USER_LOCKMETHOD, true); });
	for (;;) {
		const int events = call_postgres([&] {
			const long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
			return WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
			                 std::min<long>(left, look_at_database_every_ms), wait_event);
		});
		pg_memory_barrier(); // no longer seen waiting; whoever saw us has committed
		if (ProcDiePending)
			return Woken::gone; // without a word in the log
		if ((events & WL_LATCH_SET) != 0) {
			call_postgres([] {
				ResetLatch(MyLatch);
				QueryCancelPending = false; // nothing is being done
				CHECK_FOR_INTERRUPTS();
				if (ConfigReloadPending) {
					ConfigReloadPending = false;
					ProcessConfigFile(PGC_SIGHUP);
				}
			});
			const bool to_leave = asked_to_leave || settings::worker_idle_time == 0 || !settings::enabled;
			return to_leave ? Woken::last : Woken::look;
		}
		if (database_is_wanted() || GetCurrentTimestamp() >= until)
			return Woken::last;
	}
}

} // namespace courier::pg::idle
