#include "pg/scheduler.hpp"

#include "pg/housekeeping.hpp"
#include "pg/locks.hpp"
#include "pg/run_queue.hpp"
#include "pg/settings.hpp"
#include "pg/shared_memory.hpp"
#include "pg/workers.hpp"

extern "C" {
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

// The scheduler of one database. It lives while there is something to look after, and exits as soon as there is not, so an
// idle database costs no worker slot. Each pass reads what the tables say and what the locks say, and acts on the
// difference; it remembers nothing that matters.
//
// Races, and what is done about them
//
// - Two schedulers: the scheduler lock. The second one waits a moment (the first may be on its way out) and exits.
// - Something is committed while it decides to exit: shared::leave() refuses, and another pass is made.
// - The database has no extension, or DROP EXTENSION is under way: every transaction locks the extension first. Without it
//   the launcher is told, and starts none here before CREATE EXTENSION says so.
// - A worker dies: its run says that it is active and its lease is free. The run becomes `interrupted` and the next one is
//   queued, while the scheduler holds the lease, so nobody can start in between.
// - Slots that passed while nobody was there are one run. A slot that meets an active or queued run of its sync, a block or
//   a wait that the destination asked for passes; no two runs of a sync overlap.
// - A restored copy, a paused sync: looked at by no query here.
// - A queued run whose worker was just started by the transaction that queued it is left alone for half a second. A worker
//   that we started is given some seconds to claim.
// - A run goes from queued to active while a pass looks first for the ones and then for the others: the last look of a
//   pass is for active runs, so it is seen as one of the two, and the scheduler does not leave it alone.
// - No free worker slot, or as many running syncs as allowed: the run stays queued and its sync says what it waits for.
// - One sync that cannot be dealt with (a schedule of a later version, a locked row): its own transaction fails, which is
//   logged once; the others go on.

namespace courier::pg {

namespace {

constexpr int64 second = USECS_PER_SEC;
constexpr TimestampTz patience_with_worker = 5 * second; // until a worker that was started claims its run
constexpr TimestampTz patience_with_commit = second / 2; // until the worker that a commit started claims it
constexpr TimestampTz stays_for = 5 * second;            // something due within this time is waited for
constexpr TimestampTz keeps_house_every = 60 * second;
constexpr int lock_tries = 20;
constexpr long lock_try_every_ms = 100;

uint32 attached_generation = 0; // of this process, for its exit callback

struct QueuedRun {
	int64 run_id;
	int32 sync_id;
	std::string not_before; // empty: may start
	TimestampTz wait_us;    // until not_before
	bool by_destination;
};

class Scheduler {
public:
	explicit Scheduler(Oid database) : database_(database) {}
	void run();

private:
	enum class Found { extension, no_extension, other_settings };
	Found pass();
	void recover_all();
	void queue_due();
	void queue_due_sync(int32 sync_id);
	void start_queued();
	void note(const std::map<std::string, std::vector<int>> &reasons);
	void plan_next();
	void wait();
	int free_slots();
	void due_in(TimestampTz us) { next_due_ = std::min(next_due_, now_ + std::max<TimestampTz>(us, 0)); }

	template <class F> void isolated(const std::string &what, F work);

	Oid database_;
	uint32 generation_ = 0;
	TimestampTz now_ = 0;
	TimestampTz housekept_at_ = 0;
	TimestampTz next_due_ = 0;
	bool looked_for_partitions_ = false;
	bool busy_ = false;                    // something runs, or could
	std::map<int64, TimestampTz> seen_;    // queued runs, and when they were first seen
	std::set<int64> fresh_;                // queued by this pass: nobody started a worker
	std::map<int64, TimestampTz> started_; // workers that may not have claimed yet
	std::set<std::string> said_;           // problems that are in the log
	std::optional<std::string> settings_;  // of the database, when this process began
};

// What goes wrong with one sync is that sync's problem. The transaction of `work` is aborted by the time it is caught here.
template <class F> void Scheduler::isolated(const std::string &what, F work) {
	try {
		work();
	} catch (const Error &error) {
		const std::string text = what + ": " + error.message;
		if (said_.size() > 1000)
			said_.clear();
		if (!said_.insert(text).second)
			return;
		call_postgres([&] {
			ereport(LOG, (errmsg("pg_courier could not %s", text.c_str()),
			              error.detail.empty() ? 0 : errdetail_internal("%s", error.detail.c_str())));
		});
	}
}

void Scheduler::run() {
	const LOCKTAG lock = locks::scheduler();
	for (int i = 0; !locks::try_acquire(lock); i++) {
		if (i == lock_tries)
			return;
		call_postgres([] {
			(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, lock_try_every_ms,
			                PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		});
	}
	generation_ = attached_generation = shared::attach(database_, &housekept_at_);
	call_postgres([] { pgstat_report_appname(scheduler_type); });
	for (;;) {
		call_postgres([] { CHECK_FOR_INTERRUPTS(); });
		if (ConfigReloadPending) {
			ConfigReloadPending = false;
			call_postgres([] { ProcessConfigFile(PGC_SIGHUP); });
		}
		shared::begin_pass(database_, generation_);
		call_postgres([] { pgstat_report_activity(STATE_RUNNING, "looking for work"); });
		const Found found = pass();
		if (found == Found::no_extension) {
			if (shared::leave(database_, generation_, shared::DatabaseState::no_extension, shared::never))
				return;
			continue;
		}
		if (found == Found::other_settings) { // the launcher starts another one at once
			if (shared::leave(database_, generation_, shared::DatabaseState::idle, now_))
				return;
			continue;
		}
		if (!busy_ && next_due_ > now_ + stays_for &&
		    shared::leave(database_, generation_, shared::DatabaseState::idle, next_due_))
			return;
		call_postgres([] { pgstat_report_activity(STATE_IDLE, nullptr); });
		wait();
	}
}

void Scheduler::wait() {
	const TimestampTz poll = static_cast<TimestampTz>(settings::poll_interval) * 1000;
	const TimestampTz until = std::min(now_ + poll, busy_ ? now_ + poll : next_due_);
	call_postgres([&] {
		const long ms = std::max(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until), 10L);
		(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	});
}

Scheduler::Found Scheduler::pass() {
	now_ = GetCurrentTimestamp();
	next_due_ = shared::never;
	busy_ = false;
	fresh_.clear();
	ExtensionLock extension = ExtensionLock::busy;
	bool updated = false;
	{
		Transaction transaction;
		extension = lock_extension(false);
		updated = is_updated();
		const std::string settings = database_settings();
		transaction.commit();
		if (settings_ && *settings_ != settings)
			return Found::other_settings;
		settings_ = settings;
	}
	if (extension == ExtensionLock::no_extension)
		return Found::no_extension;
	if (extension == ExtensionLock::busy) {
		busy_ = true; // look again when DROP or ALTER EXTENSION is through
		return Found::extension;
	}
	if (!updated) {
		isolated("note that the extension must be updated", [] { note_missing_update(); });
		busy_ = true; // it is updated at any moment
		return Found::extension;
	}
	if (!looked_for_partitions_) // the extension may have been made anew within this minute
		isolated("make the partitions of its logs", [] { ensure_partitions(); });
	looked_for_partitions_ = true;
	if (now_ >= housekept_at_ + keeps_house_every) {
		keep_house();
		housekept_at_ = now_;
		shared::housekept(database_, now_);
	}
	isolated("look for interrupted runs", [&] { recover_all(); });
	if (settings::enabled)
		isolated("look for due syncs", [&] { queue_due(); });
	isolated("start queued runs", [&] { start_queued(); });
	isolated("plan its next visit", [&] { plan_next(); });
	return Found::extension;
}

void Scheduler::recover_all() {
	for (const ActiveRun &run : active_runs()) {
		busy_ = true;
		isolated("recover run " + std::to_string(run.run_id), [&] {
			if (const auto heir = recover(run))
				fresh_.insert(*heir);
		});
	}
}

void Scheduler::queue_due() {
	const auto due = in_extension_transaction(false, [] {
		const Rows rows =
		    spi_execute("SELECT s.sync_id, s.name FROM courier_internal.sync s"
		                "  LEFT JOIN courier_internal.sync_state st ON st.sync_id = s.sync_id CROSS JOIN "
		                "courier_internal.installation i"
		                " WHERE NOT s.paused AND s.schedule <> 'manual' AND s.epoch = i.epoch"
		                "   AND s.database_oid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = "
		                "pg_catalog.current_database())"
		                "   AND (st.next_run_at IS NULL OR st.next_run_at <= pg_catalog.clock_timestamp())"
		                " ORDER BY st.next_run_at NULLS LAST, s.sync_id");
		std::vector<std::pair<int32, std::string>> syncs;
		for (std::size_t row = 0; row < rows.size(); row++)
			syncs.emplace_back(rows.get<int32>(row, 0), rows.get<std::string>(row, 1));
		return syncs;
	});
	if (!due)
		return;
	for (const auto &[sync_id, name] : *due)
		isolated("schedule sync \"" + name + "\"", [&] { queue_due_sync(sync_id); });
}

void Scheduler::queue_due_sync(int32 sync_id) {
	const auto queued = in_extension_transaction(false, [&]() -> std::optional<int64> {
		(void)spi_execute("INSERT INTO courier_internal.sync_state (sync_id) VALUES ($1) ON CONFLICT DO NOTHING",
		                  sync_id);
		// Everything again, now that the row is locked.
		const Rows rows = spi_execute(
		    "SELECT s.schedule, (EXTRACT(epoch FROM st.next_run_at) * 1000000)::bigint,"
		    "       st.blocked_run_id IS NULL AND COALESCE(st.not_before <= pg_catalog.clock_timestamp(), true)"
		    "       AND NOT EXISTS (SELECT FROM courier_internal.run r WHERE r.sync_id = s.sync_id AND r.test IS NULL"
		    "                          AND r.status IN ('queued', 'querying', 'sending'))"
		    "       AND courier_internal.window_opening(pg_catalog.clock_timestamp(), s.options) <= "
		    "pg_catalog.clock_timestamp(),"
		    "       (EXTRACT(epoch FROM courier_internal.jitter_offset(s.sync_id, s.options)) * 1000000)::bigint"
		    "  FROM courier_internal.sync_state st JOIN courier_internal.sync s ON s.sync_id = st.sync_id"
		    " WHERE st.sync_id = $1 AND NOT s.paused"
		    "   AND (st.next_run_at IS NULL OR st.next_run_at <= pg_catalog.clock_timestamp())"
		    "   FOR NO KEY UPDATE OF st SKIP LOCKED",
		    sync_id);
		if (rows.empty())
			return std::nullopt;
		const Schedule schedule = read_schedule(rows.get<std::string>(0, 0));
		const TimestampTz now = GetCurrentTimestamp();
		const auto slot = rows.get<std::optional<std::int64_t>>(0, 1);
		const bool free = rows.get<bool>(0, 2);
		constexpr TimestampTz unix_epoch =
		    (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * static_cast<int64>(SECS_PER_DAY) * USECS_PER_SEC;
		// next_run_at has the offset of option jitter in it; the slots of the schedule have not.
		const TimestampTz offset = rows.get<std::int64_t>(0, 3);
		const auto next =
		    slot ? next_slot(schedule, *slot - unix_epoch - offset, now - offset) : next_run(schedule, now);
		std::optional<std::int64_t> next_unix;
		if (next)
			next_unix = *next + unix_epoch;
		(void)spi_execute(
		    "UPDATE courier_internal.sync_state st"
		    "   SET next_run_at = courier_internal.place_run("
		    "           timestamptz 'epoch' + $2 * interval '1 microsecond', s.sync_id, s.options)"
		    "  FROM courier_internal.sync s"
		    " WHERE st.sync_id = $1 AND s.sync_id = $1 AND (st.next_run_at IS NOT NULL OR $2 IS NOT NULL)",
		    sync_id, next_unix);
		if (!slot || !free)
			return std::nullopt;
		return spi_execute(
		           "INSERT INTO courier_internal.run (sync_id, triggered_by) VALUES ($1, 'schedule') RETURNING run_id",
		           sync_id)
		    .get<int64>(0, 0);
	});
	if (queued && *queued)
		fresh_.insert(**queued);
}

int Scheduler::free_slots() {
	int free = 0;
	for (int slot = 1; slot <= settings::max_running_syncs; slot++)
		free += locks::is_held(locks::running_slot(slot)) ? 0 : 1;
	return free;
}

void Scheduler::start_queued() {
	const auto found = in_extension_transaction(false, [] {
		const Rows rows = spi_execute(
		    "SELECT r.run_id, r.sync_id, CASE WHEN st.not_before > pg_catalog.clock_timestamp()"
		    "           THEN pg_catalog.to_char(st.not_before AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC' "
		    "END,"
		    "       (EXTRACT(epoch FROM st.not_before - pg_catalog.clock_timestamp()) * 1000000)::bigint, r.attempt < 4"
		    "  FROM courier_internal.run r JOIN courier_internal.sync s ON s.sync_id = r.sync_id"
		    "  LEFT JOIN courier_internal.sync_state st ON st.sync_id = r.sync_id CROSS JOIN "
		    "courier_internal.installation i"
		    " WHERE r.status = 'queued' AND (NOT s.paused OR r.test IS NOT NULL) AND s.epoch = i.epoch"
		    "   AND s.database_oid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = "
		    "pg_catalog.current_database())"
		    " ORDER BY r.run_id");
		std::vector<QueuedRun> runs;
		for (std::size_t row = 0; row < rows.size(); row++)
			runs.push_back({rows.get<int64>(row, 0), rows.get<int32>(row, 1), std::string(rows.text(row, 2)),
			                rows.get<std::optional<std::int64_t>>(row, 3).value_or(0), rows.get<bool>(row, 4)});
		return runs;
	});
	if (!found)
		return;
	std::map<int64, TimestampTz> seen;
	std::erase_if(started_, [&](const auto &entry) { return now_ > entry.second + patience_with_worker; });
	int slots = free_slots() - static_cast<int>(started_.size());
	bool workers_left = true;
	std::map<std::string, std::vector<int>> reasons;
	for (const QueuedRun &run : *found) {
		const auto before = seen_.find(run.run_id);
		const TimestampTz first_seen = before == seen_.end() ? now_ : before->second;
		seen[run.run_id] = first_seen;
		if (!settings::enabled) {
			reasons["pg_courier.enabled"].push_back(run.sync_id);
			continue;
		}
		if (!run.not_before.empty()) {
			reasons[(run.by_destination ? "destination asked to wait until "
			                            : "interrupted again and again, waiting until ") +
			        run.not_before]
			    .push_back(run.sync_id);
			due_in(run.wait_us);
			continue;
		}
		busy_ = true;
		if (started_.contains(run.run_id) || locks::is_held(locks::lease(run.sync_id)))
			continue; // its worker is on the way, or the one that is at work takes it next
		if (!fresh_.contains(run.run_id) && now_ < first_seen + patience_with_commit)
			continue;
		if (slots <= 0) {
			reasons["max_running_syncs"].push_back(run.sync_id);
			continue;
		}
		const auto free = in_extension_transaction(false, [&] {
			return !spi_execute("SELECT run_id FROM courier_internal.run WHERE run_id = $1 AND status = 'queued'"
			                    " FOR UPDATE SKIP LOCKED",
			                    run.run_id)
			            .empty();
		});
		if (!free.value_or(false))
			continue; // who asked for it has not committed yet
		workers_left = workers_left && find_run_worker(database_, run.run_id);
		if (workers_left) {
			started_[run.run_id] = now_;
			slots--;
		} else {
			reasons["worker slots"].push_back(run.sync_id);
		}
	}
	seen_ = std::move(seen);
	note(reasons);
}

void Scheduler::note(const std::map<std::string, std::vector<int>> &reasons) {
	(void)in_extension_transaction(false, [&] {
		for (const auto &[reason, sync_ids] : reasons)
			note_waiting(sync_ids, reason);
		// What was cancelled waits for nothing.
		(void)spi_execute("UPDATE courier_internal.sync_state st SET waiting_for = NULL WHERE st.sync_id IN"
		                  " (SELECT w.sync_id FROM courier_internal.sync_state w WHERE w.waiting_for IS NOT NULL"
		                  "     AND NOT EXISTS (SELECT FROM courier_internal.run r"
		                  "                      WHERE r.sync_id = w.sync_id AND r.status = 'queued')"
		                  "     FOR NO KEY UPDATE SKIP LOCKED)");
		return true;
	});
}

void Scheduler::plan_next() {
	const auto waits = in_extension_transaction(false, [] {
		const Rows rows =
		    spi_execute("SELECT (EXTRACT(epoch FROM pg_catalog.min(st.next_run_at) - pg_catalog.clock_timestamp()) * "
		                "1000000)::bigint,"
		                "       EXISTS (SELECT FROM courier_internal.sync),"
		                "       EXISTS (SELECT FROM courier_internal.run WHERE status IN ('querying', 'sending'))"
		                "  FROM courier_internal.sync s JOIN courier_internal.sync_state st ON st.sync_id = s.sync_id"
		                " CROSS JOIN courier_internal.installation i WHERE NOT s.paused AND s.epoch = i.epoch"
		                "   AND s.database_oid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = "
		                "pg_catalog.current_database())");
		return std::tuple {rows.get<std::optional<std::int64_t>>(0, 0), rows.get<bool>(0, 1), rows.get<bool>(0, 2)};
	});
	if (!waits)
		return;
	const auto [next_slot_in, has_syncs, running] = *waits;
	// Last of all: a run that was claimed after we had looked for active ones, and before we looked for queued ones.
	busy_ = busy_ || running;
	if (next_slot_in && settings::enabled)
		due_in(*next_slot_in);
	// With syncs there are logs to clean and, after COMMIT PREPARED, runs that nobody spoke of. The visit is short.
	if (has_syncs)
		due_in(housekept_at_ + keeps_house_every - now_);
}

void detach(int, Datum database) {
	shared::detach(DatumGetObjectId(database), attached_generation);
}

} // namespace

} // namespace courier::pg

void courier_scheduler_main(Datum argument) {
	using namespace courier::pg;
	const Oid database = DatumGetObjectId(argument);
	(void)enter_cpp([&] {
		enter_worker(database, InvalidOid);
		call_postgres([&] { before_shmem_exit(detach, ObjectIdGetDatum(database)); });
		Scheduler scheduler(database);
		scheduler.run();
	});
}
