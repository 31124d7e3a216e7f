#include "pg/guard.hpp"
#include "pg/idle_worker.hpp"
#include "pg/shared_memory.hpp"
#include "pg/spi.hpp"
#include "pg/wakeup.hpp"
#include "pg/workers.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "executor/spi.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

// Waiting for a run, in two ways.
//
// courier.wait_for_run is a function: it cannot end the transaction that called it, so it looks with a snapshot of its own
// each time (in a REPEATABLE READ transaction, too) and leaves the caller's alone. It would wait for ever for a run that
// its own transaction asked for, because such a run is not claimed before the commit; that is refused.
//
// courier.run_sync is a procedure: it queues, commits, and then each look is a short transaction, so that hours of waiting
// hold no snapshot and no lock. That is why it has neither SECURITY DEFINER nor a SET clause, which would forbid its
// commits. The run is queued with the caller's rights.
//
// Both read tables that nobody has rights on: look() is the one place that puts on the extension owner's role, for one
// fixed statement with a pinned search_path, and asks there whether the caller may know about the run.

namespace courier::pg {

namespace {

constexpr long first_wait_ms = 100, longest_wait_ms = 500;
constexpr TimestampTz notice_every = USECS_PER_SEC;

class AsExtensionOwner {
public:
	AsExtensionOwner() {
		GetUserIdAndSecContext(&saved_role_, &saved_security_);
		call_postgres([this] {
			const Oid owner = find_owner();
			nest_level_ = NewGUCNestLevel();
			(void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
			                        true, 0, false);
			SetUserIdAndSecContext(owner, saved_security_ | SECURITY_LOCAL_USERID_CHANGE);
		});
	}
	~AsExtensionOwner() {
		SetUserIdAndSecContext(saved_role_, saved_security_);
		AtEOXact_GUC(true, nest_level_);
	}
	AsExtensionOwner(const AsExtensionOwner &) = delete;
	AsExtensionOwner &operator=(const AsExtensionOwner &) = delete;

	Oid caller() const { return saved_role_; }

private:
	static Oid find_owner();

	Oid saved_role_ = InvalidOid;
	int saved_security_ = 0;
	int nest_level_ = 0;
};

// The row of pg_extension has no syscache before 18; the schema belongs to the extension's owner.
Oid AsExtensionOwner::find_owner() {
	const Oid schema = get_namespace_oid("courier_internal", false);
	HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension \"pg_courier\" does not exist")));
	const Oid owner = reinterpret_cast<Form_pg_namespace>(GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

struct Look {
	std::string status, sync, error, error_code, hint, waiting_for;
	std::int64_t planned = 0, done = 0, rejected = 0;
	double sending_seconds = 0;
	std::optional<std::int64_t> successor;

	bool ended() const { return status != "queued" && status != "querying" && status != "sending"; }
};

// How the run stands at this moment; nullopt: there is no such run, or the caller may not know of it.
std::optional<Look> look(std::int64_t run_id) {
	call_postgres([] { PushActiveSnapshot(GetLatestSnapshot()); });
	std::optional<Look> seen;
	{
		Spi spi;
		AsExtensionOwner owner;
		const Rows rows = spi_execute_with(
		    {.read_only = true},
		    "SELECT r.status, s.name, r.error, r.error_code, r.hint, st.waiting_for,"
		    "       r.planned_added + r.planned_changed + r.planned_removed,"
		    "       r.succeeded_added + r.succeeded_changed + r.succeeded_removed"
		    "           + r.rejected_added + r.rejected_changed + r.rejected_removed + r.skipped + r.unknown,"
		    "       r.rejected_added + r.rejected_changed + r.rejected_removed,"
		    "       COALESCE(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - r.sending_at), 0)::float8,"
		    "       (SELECT pg_catalog.max(f.run_id) FROM courier_internal.run f"
		    "         WHERE f.sync_id = r.sync_id AND f.run_id > r.run_id AND r.status = 'interrupted'"
		    "           AND f.origin_run_id = COALESCE(r.origin_run_id, r.run_id))"
		    "  FROM courier_internal.run r JOIN courier_internal.sync s ON s.sync_id = r.sync_id"
		    "  LEFT JOIN courier_internal.sync_state st ON st.sync_id = r.sync_id,"
		    "       courier_internal.effective_owner(s.sync_id, s.owner) o (owner)"
		    " WHERE r.run_id = $1"
		    "   AND (courier_internal.may_see($2::bigint::oid, o.owner) OR "
		    "courier_internal.may_operate($2::bigint::oid, o.owner))",
		    run_id, static_cast<std::int64_t>(owner.caller()));
		if (!rows.empty()) {
			auto text = [&](std::size_t column) { return std::string(rows.text(0, column)); };
			seen = Look {text(0),
			             text(1),
			             text(2),
			             text(3),
			             text(4),
			             text(5),
			             rows.get<std::int64_t>(0, 6),
			             rows.get<std::int64_t>(0, 7),
			             rows.get<std::int64_t>(0, 8),
			             rows.get<double>(0, 9),
			             rows.get<std::optional<std::int64_t>>(0, 10)};
		}
	}
	call_postgres([] { PopActiveSnapshot(); });
	return seen;
}

[[noreturn]] void raise_unknown_run(std::int64_t run_id) {
	throw Error("42704", "run " + std::to_string(run_id) + " does not exist", {},
	            "SELECT run_id, sync, status FROM courier.runs");
}

class Deadline {
public:
	// NULL: never.
	Deadline(FunctionCallInfo fcinfo, int argument) {
		if (fcinfo->args[argument].isnull)
			return;
		const Datum interval = fcinfo->args[argument].value;
		at_ = call_postgres([&] {
			return DatumGetTimestampTz(
			    DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(GetCurrentTimestamp()), interval));
		});
	}
	bool passed() const { return GetCurrentTimestamp() >= at_; }
	long milliseconds() const {
		return at_ == DT_NOEND ? longest_wait_ms : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), at_);
	}

private:
	TimestampTz at_ = DT_NOEND;
};

// Sleeps a little longer each time.
class Pause {
public:
	void sleep(const Deadline &deadline) {
		const long ms = std::max(std::min(next_ms_, deadline.milliseconds()), 1L);
		next_ms_ = std::min(next_ms_ * 3 / 2, longest_wait_ms);
		call_postgres([ms] {
			(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		});
	}

private:
	long next_ms_ = first_wait_ms;
};

// Without preload there is no scheduler, so a run that could not begin when it was asked for (its destination wants peace until
// some time, there was no worker slot) begins because somebody waits for it. A worker that finds nothing to do ends at once.
class Starter {
public:
	void start_again(std::int64_t run_id, const Look &run) {
		const TimestampTz now = GetCurrentTimestamp();
		if (shared::available() || RecoveryInProgress() || run.status != "queued" || now < next_at_)
			return; // a standby would only fill its worker slots
		idle::prepare();
		(void)find_run_worker(MyDatabaseId, run_id);
		next_at_ = now + start_every;
	}

private:
	static constexpr TimestampTz start_every = 2 * USECS_PER_SEC;
	TimestampTz next_at_ = GetCurrentTimestamp() + start_every; // one was started when it was asked for
};

std::string clock_text(double seconds) {
	const auto whole = static_cast<long long>(seconds + 0.5);
	char text[40];
	std::snprintf(text, sizeof text, "%02lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
	return text;
}

std::string progress_text(const Look &run) {
	if (run.status == "queued")
		return run.waiting_for.empty() ? "queued" : "queued, waiting: " + run.waiting_for;
	if (run.status != "sending" || run.planned == 0)
		return run.status;
	const std::int64_t percent = 100 * run.done / run.planned;
	const auto filled = static_cast<std::size_t>(percent / 10); // the bar of courier.progress
	std::string text = "sending [" + std::string(filled, '#') + std::string(10 - filled, '-') + "] " +
	                   std::to_string(run.done) + " of " + std::to_string(run.planned) + " (" + std::to_string(percent) +
	                   " %)";
	const double rate = run.sending_seconds > 0 ? static_cast<double>(run.done) / run.sending_seconds : 0;
	if (rate > 0)
		text += ", " + std::to_string(std::llround(rate)) + "/s, eta " +
		        clock_text(static_cast<double>(run.planned - run.done) / rate);
	if (run.rejected > 0)
		text += ", " + std::to_string(run.rejected) + " rejected";
	return text;
}

// A NOTICE when the status changes, and while it does not, once a second where there is something new to say.
class Reporter {
public:
	void report(std::int64_t run_id, const Look &run) {
		const TimestampTz now = GetCurrentTimestamp();
		if (now < next_at_ && run.status == status_)
			return;
		std::string text = progress_text(run);
		if (text == last_)
			return;
		last_ = std::move(text);
		status_ = run.status;
		next_at_ = now + notice_every;
		call_postgres(
		    [&] { ereport(NOTICE, (errmsg("run %lld: %s", static_cast<long long>(run_id), last_.c_str()))); });
	}

private:
	std::string last_, status_;
	TimestampTz next_at_ = 0;
};

void commit() {
	call_postgres([] { SPI_commit(); });
}

std::int64_t trigger(const std::string &name, const std::optional<std::string> &resync) {
	Spi spi;
	try {
		return spi_execute("SELECT courier.trigger_sync($1, $2)", name, resync).get<std::int64_t>(0, 0);
	} catch (const PgError &error) {
		if (error.is_cancel() || error.sqlstate.starts_with("XX"))
			throw;
		throw Error(error.sqlstate, error.message, error.detail, error.hint); // without our SQL as its context
	}
}

[[noreturn]] void raise_end(std::int64_t run_id, const Look &run) {
	const std::string subject = "run " + std::to_string(run_id) + " of sync \"" + run.sync + "\" ";
	const std::string message = subject + (run.status == "failed" ? "failed" : "was " + run.status) +
	                            (run.error.empty() ? "" : ": " + run.error);
	std::string hint = run.hint;
	if (run.successor)
		hint = "Run " + std::to_string(*run.successor) + " carries on: SELECT courier.wait_for_run(" +
		       std::to_string(*run.successor) + ")";
	else if (hint.empty() && run.status == "blocked")
		hint = "If the numbers are right: SELECT courier.approve_run(" + std::to_string(run_id) + ")";
	throw Error(run.status == "failed" ? "58000" : "55000", message,
	            run.error_code.empty() ? "" : "error_code: " + run.error_code, hint);
}

std::string wait_to_end(std::int64_t run_id, const Deadline &deadline) {
	Pause pause;
	Starter starter;
	Reporter reporter;
	for (;;) {
		const auto run = look(run_id);
		commit();
		if (!run)
			throw Error("42704", "run " + std::to_string(run_id) + " is gone",
			            "Its sync was dropped while it was waited for.");
		if (run->status == "success" || run->status == "warning")
			return run->status;
		if (run->ended())
			raise_end(run_id, *run);
		if (deadline.passed())
			throw Error("57014", "timeout: run " + std::to_string(run_id) + " is still " + run->status + " and goes on",
			            {}, "SELECT courier.wait_for_run(" + std::to_string(run_id) + "), or courier.cancel_run.");
		reporter.report(run_id, *run);
		starter.start_again(run_id, *run);
		pause.sleep(deadline);
	}
}

// SPI of the procedure itself, in which it may commit.
class ProcedureSpi {
public:
	ProcedureSpi() {
		call_postgres([] { SPI_connect_ext(SPI_OPT_NONATOMIC); });
	}
	~ProcedureSpi() { SPI_finish(); }
	ProcedureSpi(const ProcedureSpi &) = delete;
	ProcedureSpi &operator=(const ProcedureSpi &) = delete;
};

bool may_commit(FunctionCallInfo fcinfo) {
	return fcinfo->context != nullptr && IsA(fcinfo->context, CallContext) &&
	       !reinterpret_cast<CallContext *>(fcinfo->context)->atomic;
}

Datum run_sync_result(FunctionCallInfo fcinfo, std::int64_t run_id, const std::string &status) {
	const Datum status_datum = text_datum(status);
	return call_postgres([&] {
		TupleDesc description = nullptr;
		if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "courier.run_sync must return a record");
		Datum values[2] = {Int64GetDatum(run_id), status_datum};
		bool nulls[2] = {false, false};
		return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls));
	});
}

} // namespace

} // namespace courier::pg

COURIER_FUNCTION(courier_wait_for_run) {
	using namespace courier;
	using namespace courier::pg;
	return enter_cpp([&] {
		if (PG_ARGISNULL(0))
			throw Error("22004", "run_id must not be NULL", {}, "SELECT run_id, sync, status FROM courier.runs");
		const std::int64_t run_id = PG_GETARG_INT64(0);
		const Deadline deadline(fcinfo, 1);
		Pause pause;
		Starter starter;
		for (;;) {
			const auto run = look(run_id);
			if (!run)
				raise_unknown_run(run_id);
			if (run->status == "queued" && wakeup::was_asked(run_id))
				throw Error("25001", "run " + std::to_string(run_id) + " was queued by this transaction",
				            "It starts when the transaction commits.",
				            "Commit first; or CALL courier.run_sync(...), which commits and waits.");
			if (run->ended() || deadline.passed())
				return text_datum(run->status);
			starter.start_again(run_id, *run);
			pause.sleep(deadline);
		}
	});
}

COURIER_FUNCTION(courier_run_sync) {
	using namespace courier;
	using namespace courier::pg;
	return enter_cpp([&] {
		if (PG_ARGISNULL(0))
			throw Error("22004", "name must not be NULL", {}, "SELECT name FROM courier.syncs");
		if (!may_commit(fcinfo))
			throw Error("25001", "courier.run_sync cannot run inside a transaction block",
			            "It commits, so that the run sees what it is to send, and waits without holding a snapshot.",
			            "Inside a transaction use courier.trigger_sync. Airflow: autocommit=True; dbt hook: "
			            "transaction: false; "
			            "psql -c: one statement per -c.");
		const std::string name = text_argument(fcinfo, 0);
		const auto resync = optional_text_argument(fcinfo, 1);
		const Deadline deadline(fcinfo, 2);
		std::int64_t run_id = 0;
		std::string status;
		{
			ProcedureSpi spi;
			run_id = trigger(name, resync);
			commit();
			status = wait_to_end(run_id, deadline);
		}
		return run_sync_result(fcinfo, run_id, status);
	});
}
