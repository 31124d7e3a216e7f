#include "pg/drop_database.hpp"

#include "pg/guard.hpp"
#include "pg/shared_memory.hpp"
#include "pg/workers.hpp"

extern "C" {
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
}

// Some commands need a database without other sessions. PostgreSQL waits 5 s for them to leave and then fails, and nobody
// would tell our scheduler or a run worker to go. So for the time of such a command:
//
// - the database is marked as held, and the launcher starts nothing there. The mark carries the pid of its session, so one
//   that dies without taking it back (FATAL leaves without unwinding) holds nothing.
// - our workers there get SIGTERM. One that is only just connecting is not seen; it looks for the mark as soon as it is
//   connected (enter_worker), and goes by itself.
// - afterwards, also when the command failed, the mark goes, and the launcher looks at the database again: a run that was
//   stopped is `interrupted` and goes on in a new one.
//
// Only the database's owner gets this far: a command that will be refused stops nobody's runs.

namespace courier::pg {

namespace {

ProcessUtility_hook_type next_hook = nullptr;

// The database that the statement needs for itself, or InvalidOid.
Oid wanted_alone(Node *statement) {
	const char *name = nullptr;
	if (IsA(statement, DropdbStmt)) {
		name = reinterpret_cast<DropdbStmt *>(statement)->dbname;
	} else if (IsA(statement, RenameStmt)) {
		auto *rename = reinterpret_cast<RenameStmt *>(statement);
		if (rename->renameType == OBJECT_DATABASE)
			name = rename->subname;
	} else if (IsA(statement, AlterDatabaseStmt)) {
		auto *alter = reinterpret_cast<AlterDatabaseStmt *>(statement);
		ListCell *cell = nullptr;
		foreach (cell, alter->options)
			if (strcmp(static_cast<DefElem *>(lfirst(cell))->defname, "tablespace") == 0)
				name = alter->dbname;
	} else if (IsA(statement, CreatedbStmt)) {
		ListCell *cell = nullptr;
		foreach (cell, reinterpret_cast<CreatedbStmt *>(statement)->options) {
			auto *option = static_cast<DefElem *>(lfirst(cell));
			if (strcmp(option->defname, "template") == 0 && option->arg != nullptr)
				name = defGetString(option);
		}
	}
	if (name == nullptr)
		return InvalidOid;
	const Oid database = get_database_oid(name, true);
	return OidIsValid(database) && COURIER_OWNS_DATABASE(database, GetUserId()) ? database : InvalidOid;
}

void terminate_workers(Oid database) {
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++) {
		const PGPROC *proc = &ProcGlobal->allProcs[i];
		const int pid = proc->pid;
		if (pid == 0 || proc->databaseId != database || pid == MyProcPid)
			continue;
		const char *type = GetBackgroundWorkerTypeByPid(pid);
		if (type != nullptr && (strcmp(type, scheduler_type) == 0 || strcmp(type, run_worker_type) == 0 ||
		                        strcmp(type, run_helper_type) == 0))
			kill(pid, SIGTERM);
	}
}

class Hold {
public:
	explicit Hold(Oid database) : database_(database) { shared::hold(database, MyProcPid); }
	~Hold() {
		shared::hold(database_, 0);
		shared::want(database_);
	}
	Hold(const Hold &) = delete;
	Hold &operator=(const Hold &) = delete;

private:
	Oid database_;
};

void process_utility(PlannedStmt *statement, const char *text, bool read_only_tree, ProcessUtilityContext context,
                     ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
                     QueryCompletion *completion) {
	auto go_on = [&] {
		if (next_hook != nullptr)
			next_hook(statement, text, read_only_tree, context, parameters, environment, destination, completion);
		else
			standard_ProcessUtility(statement, text, read_only_tree, context, parameters, environment, destination,
			                        completion);
	};
	const Oid database = wanted_alone(statement->utilityStmt);
	if (!OidIsValid(database)) {
		go_on();
		return;
	}
	(void)enter_cpp([&] {
		Hold hold(database);
		call_postgres([&] {
			terminate_workers(database);
			go_on();
		});
	});
}

} // namespace

void install_database_hook() {
	next_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}

} // namespace courier::pg
