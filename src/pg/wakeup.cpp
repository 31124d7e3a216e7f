#include "pg/wakeup.hpp"

#include "pg/guard.hpp"
#include "pg/idle_worker.hpp"
#include "pg/settings.hpp"
#include "pg/shared_memory.hpp"
#include "pg/workers.hpp"

// A run is queued by a row. Waking somebody is only a courtesy that saves the wait for the next poll, with two exceptions
// that make it more than that: without shared_preload_libraries nobody polls.
//
// - Commit. The callback comes after the transaction has left the list of running ones, so a worker that starts at once
//   sees the row and finds it unlocked. Nothing here may raise an error: the transaction is committed already, and an
//   error would take the server down. A registration that fails (no slot) leaves the run to the scheduler.
// - Abort. A transaction that asked for a run which was queued already held a lock on that row, so workers that came by
//   skipped it. They will not come again by themselves, so an abort wakes like a commit. Where the row went away with the
//   transaction, the worker finds nothing and exits.
// - A subtransaction that aborts keeps its wish: one worker too many looks and exits.
// - PREPARE TRANSACTION. COMMIT PREPARED may happen in another session or after a restart, and no callback tells. The
//   scheduler, which is started at least once a minute where there are syncs, finds the run. Without it the run waits for
//   the next worker of this database (the next trigger).

namespace courier::pg::wakeup {

namespace {

struct Asked {
	int64 *runs;
	int count;
	int room;
};

Asked *asked = nullptr; // in TopTransactionContext; the transaction callback is the only thing that ends it

Asked *ask() {
	if (asked == nullptr) {
		idle::prepare();
		auto *made = static_cast<Asked *>(MemoryContextAllocZero(TopTransactionContext, sizeof(Asked)));
		made->room = 8;
		made->runs = static_cast<int64 *>(MemoryContextAlloc(TopTransactionContext, made->room * sizeof(int64)));
		asked = made;
	}
	return asked;
}

void serve() {
	// A worker goes on with the next queued run, so more of them than may run at a time would only step on each other.
	const int workers = Min(asked->count, settings::max_running_syncs);
	for (int i = idle::wake(MyDatabaseId, workers); i < workers; i++)
		if (!start_run_worker(MyDatabaseId, asked->runs[i]))
			break;
	shared::want(MyDatabaseId);
}

} // namespace

void request_run(int64 run_id) {
	Asked *list = ask();
	if (was_asked(run_id))
		return;
	if (list->count == list->room) {
		list->runs = static_cast<int64 *>(repalloc(list->runs, 2 * list->room * sizeof(int64)));
		list->room *= 2;
	}
	list->runs[list->count++] = run_id;
}

void announce() {
	(void)ask();
}

bool was_asked(int64 run_id) {
	for (int i = 0; asked != nullptr && i < asked->count; i++)
		if (asked->runs[i] == run_id)
			return true;
	return false;
}

void on_transaction(XactEvent event, void *) {
	if (asked == nullptr)
		return;
	switch (event) {
	case XACT_EVENT_COMMIT:
	case XACT_EVENT_ABORT:
		serve();
		asked = nullptr;
		break;
	case XACT_EVENT_PREPARE:
		asked = nullptr;
		break;
	default:
		break; // before the end, or in a parallel worker, which cannot ask
	}
}

} // namespace courier::pg::wakeup

COURIER_FUNCTION(courier_request_run) {
	courier::pg::wakeup::request_run(PG_GETARG_INT64(0));
	PG_RETURN_VOID();
}

COURIER_FUNCTION(courier_announce) {
	courier::pg::wakeup::announce();
	PG_RETURN_VOID();
}
