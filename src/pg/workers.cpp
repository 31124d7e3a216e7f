#include "pg/workers.hpp"

#include "pg/guard.hpp"
#include "pg/idle_worker.hpp"
#include "pg/shared_memory.hpp"

extern "C" {
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
}

namespace courier::pg {

namespace {

constexpr int launcher_restart_seconds = 10;
constexpr int slot_tries = 100;
constexpr long slot_try_every_us = 2000;

static_assert(sizeof(RunWorkerArguments) <= BGW_EXTRALEN);
static_assert(std::is_trivially_copyable_v<RunWorkerArguments>);
static_assert(sizeof(RunHelperArguments) <= BGW_EXTRALEN);
static_assert(std::is_trivially_copyable_v<RunHelperArguments>);

BackgroundWorker describe(const char *type, const char *function, int restart_seconds) {
	BackgroundWorker worker;
	memset(&worker, 0, sizeof worker);
	strlcpy(worker.bgw_name, type, sizeof worker.bgw_name);
	strlcpy(worker.bgw_type, type, sizeof worker.bgw_type);
	strlcpy(worker.bgw_library_name, "pg_courier", sizeof worker.bgw_library_name);
	strlcpy(worker.bgw_function_name, function, sizeof worker.bgw_function_name);
	// A database connection even for the launcher: a process with shared memory only has SIGUSR1 ignored, would not hear of
	// its children, and would hold up every DROP DATABASE.
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = restart_seconds;
	return worker;
}

// Where there is no slot, idle run workers of whatever database give theirs, and it is free as soon as the postmaster has seen
// them end. Without shared_preload_libraries nobody would come again, so that is waited for; it takes milliseconds, if any.
bool registered(BackgroundWorker &worker, BackgroundWorkerHandle **handle) {
	if (RegisterDynamicBackgroundWorker(&worker, handle))
		return true;
	if (idle::displace() == 0)
		return false;
	for (int i = 0; i < slot_tries; i++) {
		pg_usleep(slot_try_every_us);
		if (RegisterDynamicBackgroundWorker(&worker, handle))
			return true;
	}
	return false;
}

void pin(const char *name, const char *value) {
	SetConfigOption(name, value, PGC_SUSET, PGC_S_SESSION);
}

} // namespace

bool start_run_worker(Oid database, int64 run_id) noexcept {
	BackgroundWorker worker = describe(run_worker_type, "courier_run_worker_main", BGW_NEVER_RESTART);
	const RunWorkerArguments arguments {database, run_id};
	memcpy(worker.bgw_extra, &arguments, sizeof arguments);
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	return registered(worker, nullptr);
}

BackgroundWorkerHandle *start_run_helper(const RunHelperArguments &arguments) {
	return call_postgres([&]() -> BackgroundWorkerHandle * {
		if (!idle::slots_to_spare(arguments.member)) // those before it are not seen yet
			return nullptr; // runs need it to begin
		BackgroundWorker worker = describe(run_helper_type, "courier_run_helper_main", BGW_NEVER_RESTART);
		memcpy(worker.bgw_extra, &arguments, sizeof arguments);
		worker.bgw_main_arg = ObjectIdGetDatum(arguments.database);
		worker.bgw_notify_pid = MyProcPid;
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
		BackgroundWorkerHandle *handle = nullptr;
		if (!RegisterDynamicBackgroundWorker(&worker, &handle))
			handle = nullptr;
		MemoryContextSwitchTo(caller);
		return handle;
	});
}

bool find_run_worker(Oid database, int64 run_id) noexcept {
	return idle::wake(database, 1) > 0 || start_run_worker(database, run_id);
}

RunWorkerArguments read_arguments() {
	RunWorkerArguments arguments;
	memcpy(&arguments, MyBgworkerEntry->bgw_extra, sizeof arguments);
	return arguments;
}

RunHelperArguments read_helper_arguments() {
	RunHelperArguments arguments;
	memcpy(&arguments, MyBgworkerEntry->bgw_extra, sizeof arguments);
	return arguments;
}

void register_launcher() {
	BackgroundWorker worker = describe(launcher_type, "courier_launcher_main", launcher_restart_seconds);
	RegisterBackgroundWorker(&worker);
}

BackgroundWorkerHandle *start_scheduler(Oid database) {
	BackgroundWorker worker = describe(scheduler_type, "courier_scheduler_main", BGW_NEVER_RESTART);
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	return call_postgres([&] {
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
		BackgroundWorkerHandle *handle = nullptr;
		if (!registered(worker, &handle))
			handle = nullptr;
		MemoryContextSwitchTo(caller);
		return handle;
	});
}

void enter_worker(Oid database, Oid role) {
	idle::prepare();
	call_postgres([&] {
		pqsignal(SIGTERM, die); // the default handler would act in the middle of anything
		pqsignal(SIGHUP, SignalHandlerForConfigReload);
		BackgroundWorkerUnblockSignals();
		if (OidIsValid(database))
			BackgroundWorkerInitializeConnectionByOid(database, role, 0);
		else
			BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
		// Too late for the signal that drop_database.cpp sent, and in time for its mark.
		const int holder = OidIsValid(database) ? shared::held_by(database) : 0;
		if (holder != 0 && BackendPidGetProc(holder) != nullptr)
			proc_exit(0);

		pin("search_path", "pg_catalog, pg_temp");
		pin("default_transaction_isolation", "read committed");
		pin("default_transaction_read_only", "off");
		pin("default_transaction_deferrable", "off");
		pin("session_replication_role", "origin");
		pin("client_encoding", "UTF8");
		pin("TimeZone", "UTC");
		pin("DateStyle", "ISO, MDY");
		pin("IntervalStyle", "postgres");
		pin("extra_float_digits", "1");
		pin("bytea_output", "hex");
		pin("lc_monetary", "C");
	});
}

ExtensionLock lock_extension(bool wait) {
	return call_postgres([wait] {
		for (;;) {
			const Oid extension = get_extension_oid("pg_courier", true);
			if (!OidIsValid(extension))
				return ExtensionLock::no_extension;
			if (wait)
				LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
			else if (!ConditionalLockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock))
				return ExtensionLock::busy;
			// It may have been dropped, and even made again, between the look and the lock.
			if (get_extension_oid("pg_courier", true) == extension)
				return ExtensionLock::locked;
			UnlockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
		}
	});
}

} // namespace courier::pg
