#include "pg/run_queue.hpp"

#include "pg/locks.hpp"
#include "pg/settings.hpp"
#include "pg/shared_memory.hpp"
#include "pg/workers.hpp"

extern "C" {
#include "access/xlog.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/wait_event.h"
}

// The queue is courier_internal.run; who works on what is decided by session locks (locks.hpp), which are always taken
// before the row is touched and given back after the row's last word is committed.
//
// Races, and what is done about them
//
// - Two workers want the same run, or two runs of one sync: the lease of the sync decides, and the row is looked at again
//   under it, FOR UPDATE.
// - A transaction that asked for the run is still open: it holds the row FOR KEY SHARE, SKIP LOCKED passes over it, and
//   the end of that transaction starts a worker (wakeup.cpp).
// - A run is queued while another run of the sync ends. Its worker finds the lease taken and goes away; the ending worker
//   releases the lease first and looks into the queue afterwards, so it sees a row that was committed before.
// - All running slots are taken. With a scheduler, it starts a worker when one is free. Without
//   shared_preload_libraries nobody would, because the slot may be freed by another database: the worker waits here.
// - A worker dies. Its locks are gone at once, its run still says `querying` or `sending`. Whoever holds the lease of a
//   sync and finds such a run knows that it is interrupted: the scheduler, or the worker that claims the sync's next run
//   before the scheduler has looked. The next run inherits the origin, so that its idempotency keys are the same.
// - A worker dies and its helpers (run_team.cpp) live: what the destination has told them they still settle, in the run
//   that says `sending`. They share a lock while they do, and whoever takes the lease waits for them, or comes again,
//   before that run is ended and another one compares. A helper that is late takes the lock first and looks at the
//   run's row afterwards: it is ended by then.
// - A run that kills its worker every time: the successor carries the number of attempts. From the fourth on it waits, a
//   minute doubling to an hour.
// - A worker that was taken for dead but lives (its locks were dropped by SQL of a user): keep() tells it before it sends,
//   and finish_run() ends a run only once.
// - DROP or ALTER EXTENSION: every transaction locks the extension before anything else.

namespace courier::pg {

namespace {

constexpr long look_for_slot_every_ms = 1000;

struct Candidate {
	int64 run_id;
	int32 sync_id;
};

// What a queued run must meet to be started now, given run r, sync s, state st (may be missing), installation i.
// A test of one record goes through a pause: that is when one tests. The last condition is for a worker that has been at
// work since before ALTER DATABASE ... SET pg_courier.enabled = off, which its own setting does not tell.
const std::string startable =
    "(NOT s.paused OR r.test IS NOT NULL) AND s.epoch = i.epoch"
    " AND s.database_oid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"
    " AND (st.not_before IS NULL OR st.not_before <= pg_catalog.clock_timestamp())"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting d, pg_catalog.unnest(d.setconfig) c (setting)"
    "                  WHERE d.setdatabase = s.database_oid AND d.setrole = 0 AND c.setting LIKE "
    "'pg\\_courier.enabled=%'"
    "                    AND NOT pg_catalog.split_part(c.setting, '=', 2)::boolean)";

const std::string run_and_sync = " FROM courier_internal.run r"
                                 " JOIN courier_internal.sync s ON s.sync_id = r.sync_id"
                                 " LEFT JOIN courier_internal.sync_state st ON st.sync_id = r.sync_id"
                                 " CROSS JOIN courier_internal.installation i";

std::vector<Candidate> find_candidates(std::optional<int64> wanted) {
	auto found = in_extension_transaction(true, [&] {
		const Rows rows = spi_execute("SELECT r.run_id, r.sync_id" + run_and_sync +
		                                  " WHERE r.status = 'queued' AND NOT r.cancel_requested AND " + startable +
		                                  " ORDER BY (r.run_id = $1) DESC NULLS LAST, r.run_id",
		                              wanted);
		std::vector<Candidate> candidates;
		for (std::size_t row = 0; row < rows.size(); row++)
			candidates.push_back({rows.get<int64>(row, 0), rows.get<int32>(row, 1)});
		return candidates;
	});
	return found.value_or(std::vector<Candidate> {});
}

int take_slot() {
	for (int slot = 1; slot <= settings::max_running_syncs; slot++)
		if (locks::try_acquire(locks::running_slot(slot)))
			return slot;
	return 0;
}

// The run that carries on: the sync's queued one, `preferred` before others, or a new one.
std::optional<int64> hand_on(int64 run_id, int64 preferred) {
	const Rows heir = spi_execute(
	    "WITH old AS (SELECT r.* FROM courier_internal.run r JOIN courier_internal.sync s USING (sync_id)"
	    "              WHERE r.run_id = $1 AND r.status = 'interrupted' AND r.test IS NULL AND NOT s.paused"
	    "                AND NOT courier_internal.is_restored(s.epoch, s.database_oid)),"
	    " queued AS (SELECT r.run_id FROM courier_internal.run r JOIN old USING (sync_id)"
	    "             WHERE r.status = 'queued' AND r.test IS NULL AND NOT r.cancel_requested"
	    "             ORDER BY r.run_id = $2 DESC, r.run_id LIMIT 1),"
	    " joined AS (UPDATE courier_internal.run r"
	    "               SET origin_run_id = COALESCE(r.origin_run_id, old.origin_run_id, old.run_id),"
	    "                   approved = COALESCE(r.approved, old.approved), attempt = GREATEST(r.attempt, old.attempt),"
	    "                   resync = CASE WHEN courier_internal.resync_rank(old.resync) > "
	    "courier_internal.resync_rank(r.resync)"
	    "                                 THEN old.resync ELSE r.resync END"
	    "              FROM old, queued WHERE r.run_id = queued.run_id RETURNING r.run_id),"
	    " made AS (INSERT INTO courier_internal.run (sync_id, resync, triggered_by, origin_run_id, approved, attempt)"
	    "          SELECT old.sync_id, old.resync, 'recovery', COALESCE(old.origin_run_id, old.run_id), old.approved, "
	    "old.attempt"
	    "            FROM old WHERE NOT EXISTS (SELECT FROM queued) RETURNING run_id)"
	    " SELECT run_id FROM joined UNION ALL SELECT run_id FROM made",
	    run_id, preferred);
	if (heir.empty())
		return std::nullopt;
	return heir.get<int64>(0, 0);
}

// From the fourth attempt on: not at once.
void hold_back(int64 run_id) {
	(void)spi_execute("INSERT INTO courier_internal.sync_state AS st (sync_id, not_before)"
	                  " SELECT sync_id, pg_catalog.clock_timestamp() + 2 ^ LEAST(attempt - 4, 6) * interval '1 min'"
	                  "   FROM courier_internal.run WHERE run_id = $1 AND attempt >= 4"
	                  " ON CONFLICT (sync_id) DO UPDATE SET not_before = GREATEST(st.not_before, EXCLUDED.not_before)",
	                  run_id);
}

// The lease is ours and the row says that it is running: nobody is. False: it has ended meanwhile, or its row is locked.
bool end_interrupted(int64 run_id) {
	const Rows rows =
	    spi_execute("SELECT r.cancel_requested, s.paused, r.test IS NOT NULL, s.name,"
	                "       courier_internal.is_restored(s.epoch, s.database_oid)"
	                "  FROM courier_internal.run r JOIN courier_internal.sync s USING (sync_id)"
	                " WHERE r.run_id = $1 AND r.status IN ('querying', 'sending') FOR UPDATE OF r SKIP LOCKED",
	                run_id);
	if (rows.empty())
		return false;
	if (rows.get<bool>(0, 0)) {
		(void)spi_execute("SELECT courier_internal.finish_run($1, 'cancelled', NULL, NULL, NULL)", run_id);
		return true;
	}
	std::string hint = "The run that follows sends what was not acknowledged.";
	if (rows.get<bool>(0, 2))
		hint = "Call courier.test_record again.";
	else if (rows.get<bool>(0, 4))
		hint = "It was at work in the database that this one is a copy of, and goes on there.";
	else if (rows.get<bool>(0, 1))
		hint = "The sync is paused, so no run was queued: SELECT courier.resume_sync(" +
		       quote_text(rows.get<std::string>(0, 3)) + ")";
	(void)spi_execute(
	    "SELECT courier_internal.finish_run($1, 'interrupted', 'interrupted',"
	    " 'the process that worked on the run ended before the run did (crash, restart or termination)', $2)",
	    run_id, hint);
	return true;
}

std::optional<int64> end_and_hand_on(int64 run_id) {
	if (!end_interrupted(run_id))
		return std::nullopt;
	const auto next = hand_on(run_id, 0);
	if (next)
		hold_back(*next);
	return next;
}

bool mark_claimed(const Candidate &candidate) {
	return in_extension_transaction(
	           true,
	           [&] {
		           const Rows rows =
		               spi_execute("SELECT r.test IS NOT NULL" + run_and_sync +
		                               " WHERE r.run_id = $1 AND r.status = 'queued' AND NOT r.cancel_requested AND " +
		                               startable + " FOR UPDATE OF r SKIP LOCKED",
		                           candidate.run_id);
		           if (rows.empty())
			           return false;
		           const Rows left =
		               spi_execute("SELECT run_id FROM courier_internal.run"
		                           " WHERE sync_id = $1 AND status IN ('querying', 'sending') ORDER BY run_id",
		                           candidate.sync_id);
		           for (std::size_t row = 0; row < left.size(); row++)
			           if (end_interrupted(left.get<int64>(row, 0)))
				           (void)hand_on(left.get<int64>(row, 0), candidate.run_id);
		           (void)spi_execute(
		               "UPDATE courier_internal.run SET status = 'querying', attempt = attempt + 1,"
		               " started_at = pg_catalog.clock_timestamp(), worker_pid = pg_catalog.pg_backend_pid()"
		               " WHERE run_id = $1",
		               candidate.run_id);
		           (void)spi_execute("SELECT courier_internal.announce_run($1, 'querying')", candidate.run_id);
		           note_waiting({candidate.sync_id}, std::nullopt);
		           return true;
	           })
	    .value_or(false);
}

// Helpers of an interrupted run leave within seconds: they look for their leader at every turn.
bool mark_claimed_alone(const Candidate &candidate) {
	const LOCKTAG helpers = locks::helpers(candidate.sync_id);
	locks::be_alone(helpers);
	try {
		const bool claimed = mark_claimed(candidate);
		locks::leave_alone(helpers);
		return claimed;
	} catch (...) {
		locks::leave_alone(helpers);
		throw;
	}
}

// A run each of the syncs that nobody has taken; no more than may run beside ours.
std::vector<int64> free_ones(const std::vector<Candidate> &candidates) {
	std::vector<int64> runs;
	std::set<int32> syncs;
	for (const Candidate &candidate : candidates)
		if (runs.size() + 1 < static_cast<std::size_t>(settings::max_running_syncs) &&
		    syncs.insert(candidate.sync_id).second && !locks::is_held(locks::lease(candidate.sync_id)))
			runs.push_back(candidate.run_id);
	return runs;
}

enum class Attempt { claimed, nothing, no_slot };

Attempt attempt_claim(std::optional<int64> wanted, Claim &claim, std::vector<int64> *others) {
	if (!settings::enabled || call_postgres([] { return RecoveryInProgress(); }))
		return Attempt::nothing;
	const std::vector<Candidate> candidates = find_candidates(wanted);
	for (const Candidate &candidate : candidates) {
		const LOCKTAG lease = locks::lease(candidate.sync_id);
		if (locks::held_here(lease) || !locks::try_acquire(lease))
			continue;
		int slot = 0;
		try {
			slot = take_slot();
			if (slot != 0 && mark_claimed_alone(candidate)) {
				claim = {candidate.run_id, candidate.sync_id, slot};
				if (others != nullptr)
					*others = free_ones(candidates);
				return Attempt::claimed;
			}
			if (slot == 0)
				(void)in_extension_transaction(true, [&] {
					note_waiting({candidate.sync_id}, "max_running_syncs");
					return true;
				});
		} catch (...) {
			release({candidate.run_id, candidate.sync_id, slot});
			throw;
		}
		release({candidate.run_id, candidate.sync_id, slot});
		if (slot == 0)
			return Attempt::no_slot;
	}
	return Attempt::nothing;
}

} // namespace

namespace detail {

bool extension_locked(bool wait) {
	return lock_extension(wait) == ExtensionLock::locked && is_updated();
}

} // namespace detail

const char *library_version() {
	return COURIER_VERSION;
}

bool is_updated() {
	Spi spi;
	const Rows rows =
	    spi_execute("SELECT extversion = $1 FROM pg_catalog.pg_extension WHERE extname = 'pg_courier'", COURIER_VERSION);
	return !rows.empty() && rows.get<bool>(0, 0);
}

std::string database_settings() {
	Spi spi;
	const Rows rows = spi_execute("SELECT setconfig::text FROM pg_catalog.pg_db_role_setting WHERE setrole IN (0, 10)"
	                              "   AND setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d"
	                              "                            WHERE d.datname = pg_catalog.current_database()))"
	                              " ORDER BY setdatabase, setrole");
	std::string all;
	for (std::size_t row = 0; row < rows.size(); row++)
		all += std::string(rows.text(row, 0)) + "\n";
	return all;
}

void note_missing_update() {
	Transaction transaction;
	{
		Spi spi;
		(void)spi_execute("UPDATE courier_internal.sync_state st SET waiting_for = $1 WHERE st.sync_id IN"
		                  " (SELECT w.sync_id FROM courier_internal.sync_state w"
		                  "    JOIN courier_internal.run r ON r.sync_id = w.sync_id AND r.status = 'queued'"
		                  "   WHERE w.waiting_for IS DISTINCT FROM $1 FOR NO KEY UPDATE OF w SKIP LOCKED)",
		                  "ALTER EXTENSION pg_courier UPDATE");
	}
	transaction.commit();
}

std::optional<Claim> claim_run(std::optional<int64> run_id, std::vector<int64> *others) {
	for (;;) {
		Claim claim;
		switch (attempt_claim(run_id, claim, others)) {
		case Attempt::claimed:
			return claim;
		case Attempt::nothing:
			return std::nullopt;
		case Attempt::no_slot:
			if (shared::available())
				return std::nullopt;
		}
		call_postgres([] {
			(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, look_for_slot_every_ms,
			                PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		});
	}
}

void release(const Claim &claim) {
	if (claim.slot != 0)
		locks::release(locks::running_slot(claim.slot));
	locks::release(locks::lease(claim.sync_id));
}

bool keep(const Claim &claim) {
	const LOCKTAG lease = locks::lease(claim.sync_id), slot = locks::running_slot(claim.slot);
	if (!locks::held_here(lease)) {
		if (!locks::try_acquire(lease))
			return false;
		// It was free for a moment: somebody may have ended the run in it.
		const auto still_ours = in_extension_transaction(true, [&] {
			const Rows rows =
			    spi_execute("SELECT run_id FROM courier_internal.run WHERE run_id = $1"
			                " AND status IN ('querying', 'sending') AND worker_pid = pg_catalog.pg_backend_pid()",
			                claim.run_id);
			return !rows.empty();
		});
		if (!still_ours.value_or(false))
			return false;
	}
	// A slot that somebody else has by now means one sync more than allowed for a while, which harms nobody.
	if (!locks::held_here(slot))
		(void)locks::try_acquire(slot);
	return true;
}

std::vector<ActiveRun> active_runs() {
	const auto found = in_extension_transaction(false, [] {
		const Rows rows = spi_execute("SELECT run_id, sync_id FROM courier_internal.run"
		                              " WHERE status IN ('querying', 'sending') ORDER BY run_id");
		std::vector<ActiveRun> runs;
		for (std::size_t row = 0; row < rows.size(); row++)
			runs.push_back({rows.get<int64>(row, 0), rows.get<int32>(row, 1)});
		return runs;
	});
	return found.value_or(std::vector<ActiveRun> {});
}

std::optional<int64> recover(const ActiveRun &run) {
	const LOCKTAG lease = locks::lease(run.sync_id);
	if (!locks::try_acquire(lease))
		return std::nullopt; // its worker lives
	const LOCKTAG helpers = locks::helpers(run.sync_id);
	if (!locks::try_alone(helpers)) {
		locks::release(lease);
		return std::nullopt; // they settle what they were told, and leave
	}
	std::optional<int64> heir;
	try {
		heir = in_extension_transaction(false, [&] { return end_and_hand_on(run.run_id); }).value_or(std::nullopt);
	} catch (...) {
		locks::leave_alone(helpers);
		locks::release(lease);
		throw;
	}
	locks::leave_alone(helpers);
	locks::release(lease);
	return heir;
}

void interrupt(int64 run_id) {
	(void)end_and_hand_on(run_id);
}

void note_waiting(const std::vector<int> &sync_ids, const std::optional<std::string> &reason) {
	if (sync_ids.empty())
		return;
	(void)spi_execute("UPDATE courier_internal.sync_state st SET waiting_for = $2 WHERE st.sync_id IN"
	                  " (SELECT w.sync_id FROM courier_internal.sync_state w WHERE w.sync_id = ANY ($1)"
	                  "     AND w.waiting_for IS DISTINCT FROM $2 FOR NO KEY UPDATE SKIP LOCKED)",
	                  sync_ids, reason);
}

} // namespace courier::pg

COURIER_FUNCTION(courier_lease_held) {
	using namespace courier::pg;
	const int32 sync_id = PG_GETARG_INT32(0);
	return enter_cpp([&] {
		return BoolGetDatum(locks::is_held(locks::lease(sync_id)) || locks::has_members(locks::helpers(sync_id)));
	});
}
