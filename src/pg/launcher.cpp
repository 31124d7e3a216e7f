#include "pg/guard.hpp"
#include "pg/shared_memory.hpp"
#include "pg/spi.hpp"
#include "pg/workers.hpp"

extern "C" {
#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
}

// The launcher: one per cluster, connected to no database. It starts a scheduler where there may be work and knows nothing
// about syncs. Every turn compares what should run with what runs; signals and shared memory only shorten the wait.
//
// Races, and what is done about them
//
// - A scheduler is registered and never starts (fork fails, no memory). Only the launcher's own handle is believed: it says
//   "stopped", or it says "not yet" for longer than `start_patience` and the registration is withdrawn. No state is
//   cleared only by a process that may never exist.
// - A scheduler dies without a word (its database is broken). It left the entry `running`, or as it was before, which the
//   generation tells: a failure, and the next start there waits, 5 s doubling to 5 minutes. Other databases do not wait.
// - The launcher is restarted and has no handle of a scheduler that lives on. Its entry says `running`, so none is started;
//   if one is started all the same, it finds the scheduler lock taken and exits.
// - A wish (a commit, CREATE EXTENSION) arrives while a scheduler is about to exit. leave() refuses when something was
//   wanted since its last pass began, and a wish after leave() finds `idle` and wakes the launcher.
// - A scheduler starts while its predecessor, which has said `idle`, still holds the lock for a moment: it waits for it.
// - CREATE DATABASE, also with a template that has the extension, fires nothing here, and a database may be gone: pg_database
//   is read again every minute, before any scheduler is started, and when shared memory speaks of a stranger.
// - DROP DATABASE: the database is held (drop_database.cpp) and nothing is started there. Every wait is on the latch, every
//   turn absorbs barriers, so the launcher holds up no command.
// - Many databases, few worker slots: those that nobody has looked at yet are looked at two at a time. Where a slot is
//   missing, it is said once, and tried again every 5 s.

namespace courier::pg {

namespace {

constexpr int64 second = USECS_PER_SEC;
constexpr TimestampTz reread_databases_every = 60 * second;
constexpr TimestampTz start_patience = 60 * second;
constexpr TimestampTz slot_patience = 5 * second;
constexpr TimestampTz first_backoff = 5 * second;
constexpr TimestampTz longest_backoff = 300 * second;
constexpr TimestampTz between_starts = second / 5; // of the same database
constexpr int lookers_at_a_time = 2;

struct Served {
	BackgroundWorkerHandle *handle = nullptr; // of the scheduler we started, until it has stopped
	int pid = 0;
	bool looking = false; // started to find out whether the extension is there
	TimestampTz started_at = 0;
	TimestampTz not_before = 0;
	int failures = 0;
	bool has_stopped = false; // since the last turn
	bool present = false;     // in pg_database, when that was read last
	uint32 generation = 0;    // of the scheduler before the one we started
};

class Launcher {
public:
	void run();

private:
	void turn();
	void read_databases();
	void watch_handles();
	void judge_stopped(Served &served, const shared::Database &hint);
	bool is_due(Oid oid, const Served &served, const shared::Database &hint);
	void start(Oid oid, Served &served, const shared::Database &hint);
	void reload();
	void wake_at(TimestampTz at) { next_turn_ = std::min(next_turn_, at); }

	std::map<Oid, Served> served_;
	std::vector<shared::Database> hints_;
	TimestampTz now_ = 0;
	TimestampTz next_turn_ = 0;
	TimestampTz reread_at_ = 0;
	TimestampTz slots_missing_until_ = 0;
	int lookers_ = 0;
	bool said_no_slot_ = false;
	bool said_too_many_ = false;
	bool look_everywhere_ = false; // settings have changed
};

void Launcher::run() {
	for (;;) {
		call_postgres([] { CHECK_FOR_INTERRUPTS(); });
		if (ConfigReloadPending)
			reload();
		turn();
		call_postgres([&] {
			const long wait = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next_turn_);
			(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, std::max(wait, 1L),
			                PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
		});
	}
}

void Launcher::reload() {
	ConfigReloadPending = false;
	call_postgres([] { ProcessConfigFile(PGC_SIGHUP); });
	look_everywhere_ = true; // pg_courier.enabled may be on again, and queued runs wait for it
}

void Launcher::turn() {
	now_ = GetCurrentTimestamp();
	next_turn_ = now_ + reread_databases_every;
	// Handles before hints: a scheduler says how it leaves before it stops.
	watch_handles();
	hints_.resize(shared::most_databases);
	hints_.resize(shared::copy_databases(hints_.data()));
	const bool stranger =
	    std::any_of(hints_.begin(), hints_.end(), [&](const auto &hint) { return !served_.contains(hint.oid); });
	bool fresh = now_ >= reread_at_ || stranger;
	if (fresh)
		read_databases();

	std::map<Oid, const shared::Database *> by_oid;
	for (const auto &hint : hints_)
		by_oid[hint.oid] = &hint;
	auto hint_of = [&](Oid oid) {
		const auto found = by_oid.find(oid);
		return found == by_oid.end() ? shared::Database {} : *found->second;
	};
	std::vector<Oid> due;
	for (auto &[oid, served] : served_) {
		const shared::Database hint = hint_of(oid);
		if (served.has_stopped)
			judge_stopped(served, hint);
		if (is_due(oid, served, hint))
			due.push_back(oid);
	}
	if (!due.empty() && !fresh)
		read_databases(); // some of them may be gone
	for (Oid oid : due)
		if (const auto found = served_.find(oid); found != served_.end() && found->second.present)
			start(oid, found->second, hint_of(oid));
	look_everywhere_ = false;
	wake_at(reread_at_);
}

void Launcher::read_databases() {
	reread_at_ = now_ + reread_databases_every;
	std::set<Oid> present;
	Transaction transaction;
	call_postgres([&] {
		Relation relation = table_open(DatabaseRelationId, AccessShareLock);
		TableScanDesc scan = table_beginscan_catalog(relation, 0, nullptr);
		while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection)) {
			auto *database = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
			const bool being_dropped = database->datconnlimit == -2;
			if (database->datallowconn && !database->datistemplate && !being_dropped)
				present.insert(database->oid);
		}
		table_endscan(scan);
		table_close(relation, AccessShareLock);
	});
	transaction.commit();

	for (const auto &hint : hints_)
		if (!present.contains(hint.oid) && hint.held_by == 0)
			shared::forget(hint.oid);
	// A handle is kept until its worker has stopped; it is never more than a moment for a database that is gone.
	std::erase_if(served_,
	              [&](const auto &entry) { return !present.contains(entry.first) && entry.second.handle == nullptr; });
	for (auto &[oid, served] : served_)
		served.present = false;
	for (Oid oid : present)
		served_[oid].present = true;
	const bool too_many = present.size() > static_cast<std::size_t>(shared::most_databases);
	if (too_many && !said_too_many_)
		call_postgres([&] {
			ereport(LOG, (errmsg("pg_courier serves %d databases, and there are %zu", shared::most_databases,
			                     present.size())));
		});
	said_too_many_ = too_many;
}

void Launcher::watch_handles() {
	lookers_ = 0;
	for (auto &[oid, served] : served_) {
		if (served.handle == nullptr)
			continue;
		pid_t pid = 0;
		const BgwHandleStatus status = call_postgres([&] { return GetBackgroundWorkerPid(served.handle, &pid); });
		if (status == BGWH_STARTED)
			served.pid = pid;
		else if (status == BGWH_STOPPED || status == BGWH_POSTMASTER_DIED)
			served.has_stopped = true;
		else if (now_ > served.started_at + start_patience)
			call_postgres([&] { TerminateBackgroundWorker(served.handle); }); // its handle says "stopped" soon
		else
			wake_at(served.started_at + start_patience);

		if (served.has_stopped) {
			call_postgres([&] { pfree(served.handle); });
			served.handle = nullptr;
		} else if (served.looking) {
			lookers_++;
		}
	}
}

void Launcher::judge_stopped(Served &served, const shared::Database &hint) {
	using shared::DatabaseState;
	const bool other_at_work = hint.state == DatabaseState::running && hint.scheduler_pid != served.pid;
	const bool said_goodbye =
	    other_at_work || (hint.generation != served.generation &&
	                      (hint.state == DatabaseState::idle || hint.state == DatabaseState::no_extension));
	if (said_goodbye || hint.held_by != 0) {
		served.failures = 0;
		served.not_before = served.started_at + between_starts;
	} else {
		const int doublings = std::min(served.failures++, 6);
		served.not_before = now_ + std::min(first_backoff << doublings, longest_backoff);
	}
	served.has_stopped = false;
	served.looking = false;
	served.pid = 0;
}

bool Launcher::is_due(Oid oid, const Served &served, const shared::Database &hint) {
	using shared::DatabaseState;
	if (served.handle != nullptr || hint.state == DatabaseState::running)
		return false;
	if (hint.held_by != 0) {
		if (call_postgres([&] { return BackendPidGetProc(hint.held_by) != nullptr; }))
			return false; // its end wakes us
		shared::hold(oid, 0);
	}
	TimestampTz due_at = shared::never;
	if (hint.wanted || hint.state == DatabaseState::unknown)
		due_at = now_;
	else if (hint.state == DatabaseState::idle)
		due_at = look_everywhere_ ? now_ : hint.next_due;
	if (due_at == shared::never)
		return false;
	due_at = std::max({due_at, served.not_before, slots_missing_until_});
	if (due_at > now_)
		wake_at(due_at);
	return due_at <= now_;
}

void Launcher::start(Oid oid, Served &served, const shared::Database &hint) {
	const bool looking = hint.state == shared::DatabaseState::unknown && !hint.wanted;
	if (looking && lookers_ >= lookers_at_a_time)
		return; // the end of one of them is the next turn
	served.handle = start_scheduler(oid);
	if (served.handle == nullptr) {
		slots_missing_until_ = now_ + slot_patience;
		wake_at(slots_missing_until_);
		if (!said_no_slot_)
			call_postgres([] {
				ereport(LOG, (errmsg("pg_courier has to wait: no background worker slot is free for a scheduler"),
				              errhint("Increase max_worker_processes (now %d).", max_worker_processes)));
			});
		said_no_slot_ = true;
		return;
	}
	said_no_slot_ = false;
	served.started_at = now_;
	served.generation = hint.generation;
	served.looking = looking;
	lookers_ += looking ? 1 : 0;
	wake_at(now_ + start_patience);
}

void forget_launcher(int, Datum) {
	shared::set_launcher(0);
}

} // namespace

} // namespace courier::pg

void courier_launcher_main(Datum) {
	using namespace courier::pg;
	(void)enter_cpp([] {
		enter_worker(InvalidOid, InvalidOid);
		shared::set_launcher(MyProcPid);
		call_postgres([] { before_shmem_exit(forget_launcher, 0); });
		Launcher launcher;
		launcher.run();
	});
}
