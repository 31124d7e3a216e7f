#include "pg/settings.hpp"

#include "pg/guard.hpp"
#include "pg/postgres.hpp"

extern "C" {
#include "access/parallel.h"
#include "utils/guc.h"
#include "utils/varlena.h"
}

#include <sys/resource.h>

#include "http/address_filter.hpp"

namespace courier::pg::settings {

bool enabled = true;
char *allow_addresses = nullptr;
char *secrets_directory = nullptr;
char *secret_env = nullptr;
int max_running_syncs = 4;
int log_retention = 30 * 24 * 60;
int poll_interval = 1000;
int worker_idle_time = 5000;
int worker_nice = 5;
#ifdef COURIER_FAULT_POINTS
char *fault_point = nullptr;
#endif

namespace {

// Check hooks are called by PostgreSQL: no exception may leave them, and no C++ object may be alive when they allocate.

bool check_allow_addresses(char **value, void **, GucSource) {
	char reason[256] = "";
	try {
		(void)http::AddressFilter(std::string_view(*value));
		return true;
	} catch (const std::exception &error) {
		std::snprintf(reason, sizeof reason, "%s", error.what());
	} catch (...) {
	}
	GUC_check_errdetail("%s", reason);
	GUC_check_errhint("Give a comma-separated list of addresses in CIDR notation, for example 10.0.0.0/8, ::1/128.");
	return false;
}

bool check_secrets_directory(char **value, void **, GucSource) {
	if (**value == '\0' || **value == '/')
		return true;
	GUC_check_errdetail("The directory must be an absolute path.");
	return false;
}

bool is_name(const char *text) {
	if (*text == '\0' || (*text >= '0' && *text <= '9'))
		return false;
	for (; *text != '\0'; text++)
		if (!(*text == '_' || (*text >= '0' && *text <= '9') || (*text >= 'A' && *text <= 'Z') ||
		      (*text >= 'a' && *text <= 'z')))
			return false;
	return true;
}

bool check_secret_env(char **value, void **, GucSource) {
	char *copy = pstrdup(*value);
	List *names = NIL;
	bool good = SplitGUCList(copy, ',', &names);
	ListCell *cell = nullptr;
	foreach (cell, names)
		good = good && is_name(static_cast<const char *>(lfirst(cell)));
	list_free(names);
	pfree(copy);
	if (!good)
		GUC_check_errdetail("The value must be a comma-separated list of names of environment variables.");
	return good;
}

// Parallel workers are children of the postmaster, not of the worker whose query they work on, so they do not inherit its
// priority. They do get its settings.
int process_nice = 0;

void assign_process_nice(int value, void *) {
	if (value > 0 && IsParallelWorker())
		(void)setpriority(PRIO_PROCESS, 0, value);
}

} // namespace

void be_nice() {
	if (worker_nice == 0 || setpriority(PRIO_PROCESS, 0, worker_nice) != 0)
		return;
	const std::string value = std::to_string(worker_nice);
	call_postgres([&] { SetConfigOption("pg_courier.process_nice", value.c_str(), PGC_SUSET, PGC_S_SESSION); });
}

void define() {
	DefineCustomBoolVariable("pg_courier.enabled", "Whether syncs run in this database.",
	                         "Off: nothing is queried or sent, and runs stay queued.", &enabled, true, PGC_SUSET, 0,
	                         nullptr, nullptr, nullptr);
	DefineCustomStringVariable(
	    "pg_courier.allow_addresses", "Private, loopback or link-local addresses that destinations may reach.",
	    "A list of networks in CIDR notation. Public addresses are always allowed.", &allow_addresses, "", PGC_SUSET,
	    GUC_LIST_INPUT, check_allow_addresses, nullptr, nullptr);
	DefineCustomStringVariable("pg_courier.secrets_directory",
	                           "The directory that {\"file\": ...} secrets are read from.",
	                           "Empty: no secret can be a file.", &secrets_directory, "", PGC_SUSET, GUC_SUPERUSER_ONLY,
	                           check_secrets_directory, nullptr, nullptr);
	DefineCustomStringVariable("pg_courier.secret_env",
	                           "Environment variables of the server that {\"env\": ...} secrets may name.",
	                           "A list of names. Empty: no secret can be an environment variable.", &secret_env, "",
	                           PGC_SUSET, GUC_LIST_INPUT | GUC_SUPERUSER_ONLY, check_secret_env, nullptr, nullptr);
	DefineCustomIntVariable("pg_courier.max_running_syncs", "How many syncs run at the same time in the whole cluster.",
	                        "Each needs a background worker (max_worker_processes).", &max_running_syncs, 4, 1,
	                        most_running_syncs, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
	DefineCustomIntVariable(
	    "pg_courier.log_retention", "How long runs, requests and the changelog are kept.",
	    "A sync's option \"retention\" overrides it. The last 100 runs of a sync are kept in any case.", &log_retention,
	    30 * 24 * 60, 1, INT_MAX, PGC_SUSET, GUC_UNIT_MIN, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("pg_courier.poll_interval", "How often a scheduler that has work looks for more.", nullptr,
	                        &poll_interval, 1000, 100, 60 * 1000, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("pg_courier.worker_idle_time", "How long a run worker stays after its last run.",
	                        "The next run of its database then starts at once. 0: it leaves with the end of the run.",
	                        &worker_idle_time, 5000, 0, 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("pg_courier.worker_nice",
	                        "How far run workers and their parallel workers give way to other processes.",
	                        "As of nice(1), from the next worker process on. 0: they compete like any session.",
	                        &worker_nice, 5, 0, 19, PGC_SUSET, 0, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("pg_courier.process_nice", "The priority that parallel workers of this process get.",
	                        "Set by run workers.", &process_nice, 0, 0, 19, PGC_SUSET,
	                        GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, nullptr, assign_process_nice,
	                        nullptr);
#ifdef COURIER_FAULT_POINTS
	DefineCustomStringVariable("pg_courier.fault_point", "A step of a run to die, fail or wait at (test builds only).",
	                           "\"<name>:kill\", \"<name>:error\" or \"<name>:wait\".", &fault_point, "", PGC_SUSET, 0,
	                           nullptr, nullptr, nullptr);
#endif
	MarkGUCPrefixReserved("pg_courier");
}

} // namespace courier::pg::settings
