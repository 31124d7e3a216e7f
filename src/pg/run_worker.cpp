#include "core/client.hpp"
#include "destinations/operations.hpp"
#include "destinations/registry.hpp"
#include "pg/comparison.hpp"
#include "pg/digest.hpp"
#include "pg/fault.hpp"
#include "pg/hold_cancel.hpp"
#include "pg/housekeeping.hpp"
#include "pg/idle_worker.hpp"
#include "pg/jobs.hpp"
#include "pg/own_memory.hpp"
#include "pg/run_queue.hpp"
#include "pg/run_worker.hpp"
#include "pg/secrets.hpp"
#include "pg/send.hpp"
#include "pg/settings.hpp"
#include "pg/spi.hpp"
#include "pg/workers.hpp"

extern "C" {
#include "miscadmin.h"
#include "pgstat.h"
}

#include <curl/curl.h>

// A run worker claims runs until there is none left. What goes wrong in a run becomes the run's status; what goes wrong
// around it (no connection, no memory) ends the worker, and the scheduler, or the next worker, finds an interrupted run.
//
//   claimed -> querying -> [blocked] -> sending -> success | warning | failed | cancelled
//   killed anywhere: interrupted (by whoever finds the lease free), and a new run carries on
//
// When the queue is empty it stays a while (idle_worker.cpp). It is woken by a commit and does what a new worker would do:
// where the extension's version or the database's settings are others by then, a new worker does it.

namespace courier::pg {

namespace {

// The error codes that people look up, for errors of the model.
std::string error_code(const Error &error) {
	const std::string &state = error.sqlstate;
	if (state == "42P01" || state == "42703" || state == "42704" || state == "42883")
		return "model_changed";
	return state;
}

struct Ending {
	std::string status;
	std::optional<std::string> code, error, hint;
	std::optional<system_clock_point> not_before;
	bool in_doubt = false; // it ended by an error of ours, perhaps while requests were under way
};

Ending failed(const Error &error) {
	Ending out {"failed", error_code(error), storable(error.message), std::nullopt};
	if (!error.detail.empty())
		*out.error += " (" + storable(error.detail) + ")";
	if (!error.hint.empty())
		out.hint = storable(error.hint);
	if (auto raised = dynamic_cast<const PgError *>(&error); raised && raised->asked_for)
		out.status = out.code.emplace("cancelled");
	out.in_doubt = true;
	return out;
}

std::string definition_of(std::int64_t run_id) {
	Rows rows = spi_execute("SELECT courier_internal.run_definition($1)", run_id);
	if (rows.empty() || rows.is_null(0, 0))
		throw Error("55000", "the run is gone");
	return rows.get<std::string>(0, 0);
}

// Scratch that earlier runs of this sync left behind when they were killed.
void drop_old_scratch(const RunDefinition &run) {
	Rows rows = scratch_of_earlier_runs(run);
	UserContext context(run.as_owner());
	for (std::size_t row = 0; row < rows.size(); row++)
		if (!rows.get<bool>(row, 2)) // the comparison takes those in doubt
			spi_execute("DROP TABLE IF EXISTS " + rows.get<std::string>(row, 0));
}

bool holds_rejected(const RunDefinition &run) {
	return !spi_execute("SELECT FROM courier_internal.rejected WHERE sync_id = $1 AND outcome IN ('rejected', "
	                    "'unknown') LIMIT 1",
	                    run.sync_id)
	            .processed() == 0;
}

void write_plan(const RunDefinition &run, const Comparison &found) {
	spi_execute("UPDATE courier_internal.run SET rows_queried = $2, planned_added = planned_added + $3,"
	            " planned_changed = planned_changed + $4, planned_removed = planned_removed + $5,"
	            " invalid = $6, held_removals = $7 WHERE run_id = $1",
	            run.run_id, found.rows, found.added, found.changed, found.removed, found.invalid, found.held_removals);
}

// The short transaction in which a run ends.
void finish(const RunDefinition *run, std::int64_t run_id, const Ending &ending) {
	HoldCancel hold; // one that comes now is too late, and must not meet the worker's next run
	Transaction transaction;
	{
		Spi spi;
		// DROP OWNED and DROP ROLE may have passed meanwhile: then there is neither scratch nor anybody to drop it as.
		if (run && OidIsValid(run->owner) &&
		    spi_execute("SELECT FROM pg_catalog.pg_roles WHERE oid = $1", ObjectId {run->owner}).processed() > 0)
			drop_scratch(*run, ending.in_doubt), drop_idle_jobs_table(*run);
		if (ending.not_before)
			spi_execute("UPDATE courier_internal.sync_state SET not_before = pg_catalog.to_timestamp($2)"
			            " WHERE sync_id = (SELECT r.sync_id FROM courier_internal.run r WHERE r.run_id = $1)",
			            run_id, std::chrono::duration<double>(ending.not_before->time_since_epoch()).count());
		if (ending.status == "interrupted")
			interrupt(run_id);
		else
			spi_execute("SELECT courier_internal.finish_run($1, $2, $3, $4, $5)", run_id, ending.status, ending.code,
			            ending.error, ending.hint);
	}
	transaction.commit();
	QueryCancelPending = false;
	COURIER_FAULT("finished");
}

class RunId {
public:
	explicit RunId(std::int64_t run_id) { set_current_run_id(run_id); }
	~RunId() { set_current_run_id(0); }
	RunId(const RunId &) = delete;
};

// Compares. nullopt: go on and send; otherwise the run ends so.
std::optional<Ending> plan_run(RunDefinition &run, Comparison &found) {
	Transaction transaction(Isolation::repeatable_read);
	{
		Spi spi;
		found = run.is_baseline() ? take_baseline(run) : compare_model(run);
		if (!found.blocked) {
			transaction.become_read_committed();
			store_comparison(run, found);
			write_plan(run, found);
		}
	}
	if (!found.blocked) {
		transaction.commit();
		return std::nullopt;
	}
	// Nothing of a blocked run stays: the transaction is rolled back, and only the numbers are written.
	return Ending {"blocked", found.blocked->detail, found.blocked->message, found.blocked->hint};
}

void write_numbers_of_blocked(const RunDefinition &run, const Comparison &found) {
	Transaction transaction;
	{
		Spi spi;
		write_plan(run, found);
	}
	transaction.commit();
}

// How a run ends that stopped sending before its last record.
std::optional<Ending> stopped(const SendResult &sent) {
	if (sent.interrupted) // what it says of itself is what is said of every run that was
		return Ending {"interrupted", std::nullopt, std::nullopt, std::nullopt, std::nullopt, true};
	if (sent.failure)
		return Ending {"failed",
		               sent.failure->code,
		               storable(sent.failure->message),
		               storable(sent.failure->hint),
		               sent.failure->not_before};
	if (sent.cancelled)
		return Ending {"cancelled", "cancelled", "the run was cancelled; the next one goes on from there", std::nullopt};
	return std::nullopt;
}

Ending perform(RunDefinition &run, Client &client, const OperationMap &operations, const Claim &claim) {
	Comparison found;
	if (run.test.is_null()) { // a test of one record does not wait for what others have begun
		if (auto ending = stopped(ask_open_jobs(run, operations, client)))
			return *ending;
	}
	if (auto ending = plan_run(run, found)) {
		write_numbers_of_blocked(run, found);
		return *ending;
	}
	COURIER_FAULT("planned");
	if (!keep(claim))
		return {"failed", "lease_lost", "the run lost its lease: SQL of the model released session locks",
		        "A model must not call pg_advisory_unlock_all()."};

	Ending ending {"success", std::nullopt, std::nullopt, std::nullopt};
	if (found.added + found.changed + found.removed > 0) {
		{
			Transaction transaction;
			{
				Spi spi;
				// What was planned is on the disk; that it is being sent now need not be, before it is.
				call_postgres([] {
					(void)set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true,
					                        0, false);
				});
				spi_execute("SELECT courier_internal.set_run_status($1, 'sending')", run.run_id);
			}
			transaction.commit();
		}
		report_activity("sending", run.sync);
		give_back_memory(); // of the comparison
		SendResult sent = run.digest_records ? send_digest(run, operations, client, found)
		                                     : send_changes(run, operations, client, found);
		if (auto end = stopped(sent))
			return *end;
	}
	Transaction transaction;
	{
		Spi spi;
		if (found.invalid > 0 || holds_rejected(run))
			ending.status = "warning";
		// Not before the end: what carries on for a first run that was cut short is a first run too.
		if (run.is_first_run() && run.test.is_null())
			spi_execute(
			    "UPDATE courier_internal.sync SET snapshot_format = snapshot_format || '{\"first_run_done\": true}'"
			    " WHERE sync_id = $1",
			    run.sync_id);
	}
	transaction.commit();
	return ending;
}

bool names_remote_id(const Client &client, std::optional<Operation> operation, Change change) {
	return operation && client.names_remote_id(*operation, change);
}

} // namespace

void report_activity(std::string_view phase, std::string_view sync) {
	std::string text = "pg_courier: " + std::string(phase) + " " + std::string(sync);
	call_postgres([&] { pgstat_report_activity(STATE_RUNNING, text.c_str()); });
}

std::unique_ptr<Client> open_client(RunDefinition &run, OperationMap &operations) {
	run.client.secrets = resolve_secrets(run.destination_id, run.client.destination, run.secret_references);
	auto client = make_client(run.client);
	operations = courier::operations(run.mode, run.sync_type, run.on_removed, *client);
	Plan &plan = run.plan;
	plan.send_removals = operations.removed.has_value();
	plan.clear_removals = operations.removed == Operation::clear;
	// A request that names the previous identifier can rename; without one, a changed identifier is another record. A message
	// about a changed record is one message.
	std::string requests = run.client.sync_config.dump() +
	                       definition_or_builtin(run.client.type, run.client.definition).dump();
	plan.rename_by_removal = plan.keep_match() && plan.send_removals && plan.compare_changes &&
	                         run.sync_type != "notifications" && requests.find("previous.") == std::string::npos &&
	                         !names_remote_id(*client, operations.changed, Change::changed);
	// The destination's own identifier is never another record's.
	plan.hold_removals = !names_remote_id(*client, operations.removed, Change::removed);
	return client;
}

void execute_run(const Claim &claim) {
	RunId current(claim.run_id);
	std::optional<RunDefinition> run;
	Ending ending;
	try {
		std::unique_ptr<Client> client;
		OperationMap operations;
		{
			Transaction transaction;
			{
				Spi spi;
				run = read_definition(definition_of(claim.run_id));
				report_activity("querying", run->sync);
				complete_plan(*run);
				drop_old_scratch(*run);
				client = open_client(*run, operations);
				if (!run->test.is_null()) {
					run->plan.only_key = run->test.at("primary_key").dump();
					run->plan.only_removed = run->test.value("change", "") == "removed";
					run->plan.only_added = run->test.value("change", "") == "added";
					run->options.log_records = LogRecords::payload;
				}
			}
			transaction.commit();
		}
		ensure_partitions(log_retention_minutes(run->options));
		COURIER_FAULT("claimed");
		ending = perform(*run, *client, operations, claim);
	} catch (const Error &error) {
		ending = failed(error);
	} catch (const std::bad_alloc &) {
		throw;
	} catch (const std::exception &error) {
		ending = {"failed", "58000", storable(error.what()), std::nullopt};
		ending.in_doubt = true;
	}
	finish(run ? &*run : nullptr, claim.run_id, ending);
}

namespace {

// Whether a process that begins now would be as this one is. nullopt: there is no extension.
std::optional<bool> is_current(const std::string &settings) {
	Transaction transaction;
	const bool exists = lock_extension(true) == ExtensionLock::locked;
	const bool same = exists && is_updated() && database_settings() == settings;
	transaction.commit();
	return exists ? std::optional(same) : std::nullopt;
}

std::string settings_at_start() {
	Transaction transaction;
	std::string settings = database_settings();
	transaction.commit();
	return settings;
}

void run_worker() {
	RunWorkerArguments arguments = read_arguments();
	enter_worker(arguments.database, InvalidOid);
	settings::be_nice();
	curl_global_init(CURL_GLOBAL_DEFAULT);
	idle::begin();
	const std::string settings = settings_at_start();
	std::optional<int64> wanted = arguments.run_id;
	idle::Woken woken = idle::Woken::look;
	bool was_idle = false; // since the last run
	TimestampTz until = 0;
	for (int runs = 0;;) {
		std::vector<int64> others;
		if (auto claim = claim_run(wanted, was_idle ? &others : nullptr)) {
			for (const int64 other : others)
				(void)start_run_worker(MyDatabaseId, other);
			wanted.reset();
			execute_run(*claim);
			release(*claim);
			call_postgres([] { pgstat_report_activity(STATE_IDLE, nullptr); });
			until = GetCurrentTimestamp() + static_cast<TimestampTz>(settings::worker_idle_time) * 1000;
			woken = idle::Woken::look;
			was_idle = false;
			runs++;
			continue;
		}
		if (woken != idle::Woken::look || !idle::may_stay(runs))
			return;
		woken = idle::wait(until);
		was_idle = true;
		if (woken == idle::Woken::gone)
			return;
		if (const auto current = is_current(settings); !current.value_or(false)) {
			if (current)
				(void)start_run_worker(MyDatabaseId, 0);
			return;
		}
	}
}

} // namespace

} // namespace courier::pg

extern "C" void courier_run_worker_main(Datum) {
	courier::pg::enter_cpp([] { courier::pg::run_worker(); });
}
