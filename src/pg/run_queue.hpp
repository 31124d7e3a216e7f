#pragma once

#include "pg/guard.hpp"
#include "pg/spi.hpp"

namespace courier::pg {

// A run that this process may work on: its sync's lease and one of the cluster's running slots are held by this session.
struct Claim {
	int64 run_id = 0;
	int32 sync_id = 0;
	int slot = 0;
};

// Takes the run that was asked for, or, where that one cannot be had, the oldest queued run of this database that can. Its
// status is `querying`, attempt is one more and all of it is committed. nullopt: there is nothing to do for this worker
// (whatever is still queued will be looked at by whoever makes it wait, or by the scheduler).
// Call it outside a transaction and without a connection to SPI.
// `others`: runs of other syncs that nobody had taken at that moment, for a worker that was woken by whoever queued them.
std::optional<Claim> claim_run(std::optional<int64> run_id, std::vector<int64> *others = nullptr);

// After the run's final status is committed. Then look for the next run: whoever queued one meanwhile found the lease taken
// and relies on it.
void release(const Claim &claim);

// Whether the leases are still there. SQL of a user can drop them (pg_advisory_unlock_all), so it is asked after the model
// was queried; a run that has lost them must not send. False: they were lost, and could not be taken back.
bool keep(const Claim &claim);

struct ActiveRun {
	int64 run_id = 0;
	int32 sync_id = 0;
};

// Runs that say `querying` or `sending`.
std::vector<ActiveRun> active_runs();
// Where the run's worker is gone: ends it as `interrupted` and queues the run that carries on, which is returned. nullopt: the
// worker lives, or nothing carries on (cancelled, paused, a test).
std::optional<int64> recover(const ActiveRun &run);

// By a worker whose own run cannot go on, because a helper of it died: ends it in the same way. In a transaction,
// connected to SPI.
void interrupt(int64 run_id);

// What the runs of this sync wait for, shown in courier.sync_details; nullopt: nothing. Skips rows that are locked. In a
// transaction, connected to SPI.
void note_waiting(const std::vector<int> &sync_ids, const std::optional<std::string> &reason);

// A short transaction in which the extension cannot be dropped or altered; `wait`: for one of these to end, instead of
// giving up. nullopt: gave up, or there is no extension.
template <class F> auto in_extension_transaction(bool wait, F work) -> std::optional<std::invoke_result_t<F &>>;

// Whether the extension's version is the library's. Between the installation of new files and ALTER EXTENSION UPDATE it is not, and nothing
// runs: new code does not meet old tables. In a transaction.
bool is_updated();
const char *library_version();
// What ALTER DATABASE ... SET and the like say. It reaches only sessions that begin, so a process that lives on has the old values (of
// pg_courier.enabled, of all things). In a transaction.
std::string database_settings();
void note_missing_update(); // queued runs say that they wait for it

namespace detail {
bool extension_locked(bool wait);
}

template <class F> auto in_extension_transaction(bool wait, F work) -> std::optional<std::invoke_result_t<F &>> {
	Transaction transaction;
	std::optional<std::invoke_result_t<F &>> result;
	if (detail::extension_locked(wait)) {
		Spi spi;
		result.emplace(work());
	}
	transaction.commit();
	return result;
}

} // namespace courier::pg
