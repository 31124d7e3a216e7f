#include "pg/postgres.hpp"

#include "pg/drop_database.hpp"
#include "pg/settings.hpp"
#include "pg/shared_memory.hpp"
#include "pg/wakeup.hpp"
#include "pg/workers.hpp"

extern "C" {
#include "access/xact.h"
#include "storage/ipc.h"
}

extern "C" {
PG_MODULE_MAGIC;
PGDLLEXPORT void _PG_init(void);
}

namespace {

shmem_request_hook_type next_shmem_request = nullptr;
shmem_startup_hook_type next_shmem_startup = nullptr;

void request_shared_memory() {
	if (next_shmem_request != nullptr)
		next_shmem_request();
	courier::pg::shared::request();
}

void start_shared_memory() {
	if (next_shmem_startup != nullptr)
		next_shmem_startup();
	courier::pg::shared::startup();
}

} // namespace

// Runs once per process that loads the library, or once in the postmaster for all of them. What has no end (callbacks,
// hooks) is registered here and nowhere else.
void _PG_init() {
	if (IsBinaryUpgrade) // pg_upgrade: nothing may run or be sent
		return;
	courier::pg::settings::define();
	RegisterXactCallback(courier::pg::wakeup::on_transaction, nullptr);
	if (!process_shared_preload_libraries_in_progress)
		return; // runs are started by sessions; there are no schedules
	next_shmem_request = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	next_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = start_shared_memory;
	courier::pg::install_database_hook();
	courier::pg::register_launcher();
}
