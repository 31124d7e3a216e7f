#include "pg/send.hpp"

#include <algorithm>
#include <memory>

#include "destinations/registry.hpp"
#include "http/multi.hpp"
#include "pg/change_pages.hpp"
#include "pg/fault.hpp"
#include "pg/hold_cancel.hpp"
#include "pg/housekeeping.hpp"
#include "pg/jobs.hpp"
#include "pg/locks.hpp"
#include "pg/rate_gate.hpp"
#include "pg/run_helper.hpp"
#include "pg/run_team.hpp"
#include "pg/settings.hpp"
#include "pg/snapshot_table.hpp"

extern "C" {
#include "catalog/pg_database.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/wait_event.h"
}

// The loop of a run: fill Delivery's window from pages of the scratch, let it send, settle what came back, wait.
//
// There is one wait, on the latch and libcurl's epoll descriptor together, so that DROP DATABASE, shutdown and cancel
// never wait for an HTTP answer. Everything between two waits is short, except page and settlement transactions.

namespace courier::pg {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using std::chrono::system_clock;

constexpr std::size_t settle_records = 1000;
constexpr milliseconds settle_every {1000};
constexpr milliseconds worth_a_note {5000};
constexpr milliseconds cancel_grace {3000}; // for answers that are on their way. drop_sync waits 4.5 seconds for all of it

double uniform() {
	return pg_prng_double(&pg_global_prng_state);
}

auto utc_day() {
	return std::chrono::floor<std::chrono::days>(system_clock::now());
}

// DROP DATABASE holds this lock while it waits, five seconds, for everybody to leave. Under shared_preload_libraries
// its session tells us (drop_database.cpp); without, we look. The run is found interrupted if the database lives on.
void leave_dropped_database() {
	call_postgres([] {
		LOCKTAG tag;
		SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
		if (LockAcquire(&tag, AccessShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
			ereport(FATAL, errcode(ERRCODE_ADMIN_SHUTDOWN),
			        errmsg("pg_courier run worker leaves: the database is being dropped or renamed"));
	});
}

// What the user asked for while we send. In its own transaction. Where snapshot or owner are gone, what is accepted could not be noted: an
// error ends the run now, and not when the answer that is waited for has come.
bool must_stop(const RunDefinition &run) {
	if (!settings::enabled)
		return true;
	Transaction transaction;
	leave_dropped_database();
	Rows rows;
	{
		Spi spi;
		rows = spi_execute("SELECT cancel_requested FROM courier_internal.run WHERE run_id = $1", run.run_id);
		if (!rows.empty())
			check_snapshot_table(run);
	}
	transaction.commit();
	return rows.empty() || rows.get<bool>(0, 0);
}

DeliveryOptions delivery_options(const RunDefinition &run) {
	DeliveryOptions out;
	out.batch_size = run.options.batch_size;
	out.concurrency = run.options.concurrency;
	out.timeout = run.options.timeout;
	out.max_attempts = run.options.max_attempts;
	out.max_wait = run.options.max_wait;
	out.max_job_time = run.options.max_job_time;
	out.max_rejected = run.options.max_rejected.share.value_or(1.0);
	if (run.options.max_rejected.count)
		out.max_rejected_count = *run.options.max_rejected.count;
	out.update_only = run.mode == "update";
	out.log_failed = run.options.log_requests != LogRequests::none;
	out.log_all = run.options.log_requests == LogRequests::all || !run.test.is_null();
	return out;
}

http::MultiSettings multi_settings(const RunDefinition &run) {
	http::MultiSettings out;
	out.filter = http::AddressFilter(settings::allow_addresses ? settings::allow_addresses : "");
	out.tls = tls_settings(run.client);
	if (run.options.concurrency > out.max_host_connections)
		out.max_host_connections = run.options.concurrency;
	return out;
}

// The sync's own rate_limit, or what the destination's type says.
std::optional<double> rate_of(const RunDefinition &run, const OperationMap &operations, const Client &client) {
	if (run.options.requests_per_second)
		return run.options.requests_per_second;
	std::optional<double> rate;
	for (auto &operation : {operations.added, operations.changed, operations.removed})
		if (operation)
			if (auto its = client.limits(*operation).rate; its && (!rate || *its < *rate))
				rate = its;
	return rate;
}

// For the latch and for libcurl. WaitLatchOrSocket would make such a set for each wait.
class Wait {
public:
	explicit Wait(const http::Multi &multi) {
		call_postgres([&] {
			set_.reset(create_wait_event_set(3));
			AddWaitEventToSet(set_.get(), WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
			AddWaitEventToSet(set_.get(), WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
			AddWaitEventToSet(set_.get(), WL_SOCKET_READABLE, multi.descriptor(), nullptr, nullptr);
		});
	}

	void at_most(milliseconds longest) {
		call_postgres([&] {
			WaitEvent event;
			WaitEventSetWait(set_.get(), static_cast<long>(longest.count()), &event, 1, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
			if (ConfigReloadPending) {
				ConfigReloadPending = false;
				ProcessConfigFile(PGC_SIGHUP);
			}
		});
	}

private:
	struct Free {
		void operator()(WaitEventSet *set) const { FreeWaitEventSet(set); }
	};
	std::unique_ptr<WaitEventSet, Free> set_;
};

// The loop itself. `feed` fills the window of Delivery, and says end() when nothing is left.
class SendLoop {
public:
	SendLoop(const RunDefinition &run, DeliveryOptions options, const OperationMap &operations, Client &client, Held held,
	         Team *team = nullptr)
	    : run_(run), multi_(multi_settings(run)), wait_(multi_), gate_(run.destination_id, rate_of(run, operations, client)),
	      delivery_(std::move(options), operations, client, multi_, gate_, uniform), jobs_(run, underway_),
	      settlement_(run, jobs_, held), team_(team) {
		delivery_.keep_jobs(jobs_);
	}

	using Write = std::function<void(std::vector<Settled>, std::vector<Exchange>, std::uint64_t)>;
	void write_with(Write write) { write_ = std::move(write); } // in place of the settlement record by record

	template <typename Feed> SendResult run(Feed feed);
	Delivery &delivery() { return delivery_; }
	UnderwayRecords &underway() { return underway_; }

private:
	void settle() {
		if (settled_ == 0 && exchanges_.empty() && !jobs_.pending())
			return;
		HoldCancel hold;
		if (team_ && !team_->leads()) {
			COURIER_FAULT("before_helper_settles");
			if (!locks::joined_here(locks::helpers(run_.sync_id))) // nothing would keep the next run from comparing meanwhile
				throw Error("55000", "a helper lost its lock: an expression of an index of the snapshot released session locks");
		}
		if (write_)
			write_(delivery_.take_settled(), std::move(exchanges_), delivery_.requests());
		else
			settlement_.settle(delivery_.take_settled(), std::move(exchanges_), underway_, delivery_.requests());
		settled_ = 0;
		exchanges_.clear();
	}
	void take() {
		if (delivery_.settled() > settled_)
			got_on_ = steady_clock::now();
		settled_ = delivery_.settled();
		for (auto &one : delivery_.take_exchanges())
			exchanges_.push_back(std::move(one));
	}

	void note_waiting(steady_clock::time_point now);

	const RunDefinition &run_;
	http::Multi multi_;
	Wait wait_;
	TableRateGate gate_;
	Delivery delivery_;
	TableJobStore jobs_;
	Settlement settlement_;
	Team *team_; // the other workers of the run
	UnderwayRecords underway_;
	Write write_;
	std::size_t settled_ = 0; // that Delivery has for us
	std::vector<Exchange> exchanges_;
	steady_clock::time_point got_on_ = steady_clock::now(); // when something was last settled
	std::string noted_;                                     // what courier.progress says that it waits for
};

// For people who look, once it has lasted; changed only when the words change.
void SendLoop::note_waiting(steady_clock::time_point now) {
	std::string reason;
	if (now - got_on_ >= worth_a_note)
		reason = delivery_.waits_for();
	if (reason == noted_)
		return;
	Transaction transaction;
	{
		Spi spi;
		spi_execute("UPDATE courier_internal.run SET waiting_for = $2 WHERE run_id = $1", run_.run_id,
		            reason.empty() ? std::nullopt : std::optional(reason));
	}
	transaction.commit();
	noted_ = reason;
}

template <typename Feed> SendResult SendLoop::run(Feed feed) {
	SendResult result;
	std::optional<steady_clock::time_point> patient_until; // for answers that are on their way
	auto cancel = [&] {
		result.cancelled = true;
		patient_until = steady_clock::now() + cancel_grace;
		delivery_.cancel();
		if (team_)
			team_->stop(Team::Stop::cancelled, {});
	};
	auto stop_with_others = [&](Team::Stop how) {
		if (how == Team::Stop::none)
			return;
		if (how == Team::Stop::cancelled) {
			cancel();
			return;
		}
		if (how == Team::Stop::leader_gone) // the next run waits for us
			patient_until = steady_clock::now() + cancel_grace;
		delivery_.stop(team_->end().why);
	};
	gate_.refresh(steady_clock::now());
	auto last_settled = steady_clock::now();
	auto day = utc_day();
	for (;;) {
		try {
			if (!result.cancelled && !delivery_.failure())
				feed();
			multi_.on_activity();
			delivery_.step(steady_clock::now(), system_clock::now());
			multi_.on_activity(); // what was just started
			take();
			if (team_ && !result.cancelled)
				stop_with_others(team_->turn(delivery_));
			if (delivery_.finished()) {
				take();
				break;
			}

			auto now = steady_clock::now();
			if (patient_until && now >= *patient_until && multi_.running() > 0) {
				multi_.cancel_all();
				continue;
			}
			if (settled_ >= settle_records || now - last_settled >= settle_every) {
				settle();
				gate_.refresh(now);
				if (!result.cancelled && must_stop(run_))
					cancel();
				if (!team_ || team_->leads())
					note_waiting(now);
				if (auto today = utc_day(); today != day) {
					ensure_partitions(log_retention_minutes(run_.options)); // a run may go on for days
					day = today;
				}
				last_settled = now = steady_clock::now();
			}
			milliseconds wait =
			    std::max(milliseconds(0), std::chrono::ceil<milliseconds>(last_settled + settle_every - now));
			if (auto next = delivery_.next_step())
				wait = std::min(wait, std::max(milliseconds(0), std::chrono::ceil<milliseconds>(*next - now)));
			if (patient_until && now < *patient_until)
				wait = std::min(wait, std::chrono::ceil<milliseconds>(*patient_until - now));
			if (multi_.has_finished()) // answered as soon as it was started: nothing would wake us
				wait = milliseconds(0);
			wait_.at_most(wait);
		} catch (const PgError &error) {
			if (!error.is_cancel() || result.cancelled)
				throw;
			cancel();
		}
	}
	settle();
	result.failure = delivery_.failure();
	return result;
}

} // namespace

namespace {

// More workers pay off where each has some of these to do, and where no order has to be kept but that of removals after
// additions. A conversation needs a store of jobs, and a former match value is removed by whoever knows what became of
// the new one.
constexpr std::int64_t records_each = 1000;

int wanted_workers(const RunDefinition &run, const OperationMap &operations, const Client &client, std::int64_t changes) {
	if (run.options.workers == 1 || !run.test.is_null() || run.plan.rename_by_removal)
		return 1;
	for (auto &operation : {operations.added, operations.changed, operations.removed})
		if (operation && client.limits(*operation).conversations > 0)
			return 1;
	return static_cast<int>(std::min<std::int64_t>(run.options.workers, changes / records_each));
}

std::unique_ptr<Team> make_team(const RunDefinition &run, const OperationMap &operations, const Client &client,
                                std::int64_t changes) {
	const int workers = wanted_workers(run, operations, client, changes);
	if (workers <= 1)
		return nullptr;
	std::uint32_t blocks = 0;
	Transaction transaction;
	{
		Spi spi;
		blocks = change_blocks(run);
	}
	transaction.commit();
	try {
		return Team::lead(run, workers, changes, blocks, describe_run(run));
	} catch (const PgError &error) {
		if (error.is_cancel())
			throw;
		return nullptr; // no room for shared memory: one worker can do it
	}
}

// Parts of the changes, as long as the team has some.
SendResult send_parts(SendLoop &loop, const RunDefinition &run, Team &team) {
	ChangePages pages(run, [&] { return team.next_part(); });
	Delivery &delivery = loop.delivery();
	bool ended = false;
	return loop.run([&] {
		while (!ended && delivery.wants_more()) {
			if (auto record = pages.next(loop.underway())) {
				if (record->change == Change::removed)
					team.no_more_additions();
				delivery.offer(std::move(*record));
			} else {
				team.no_more_additions();
				delivery.end();
				ended = true;
			}
		}
	});
}

SendResult send_with_helpers(SendLoop &loop, const RunDefinition &run, Team &team) {
	try {
		(void)send_parts(loop, run, team);
		team.wait_for_all([&] { return must_stop(run); });
	} catch (const Error &error) {
		team.stop(Team::Stop::failed, {"failed", error.message, {}, {}});
		team.wait_for_all([] { return false; }); // scratch is theirs until then
		throw;
	}
	const Team::End end = team.end();
	SendResult result;
	result.cancelled = end.how == Team::Stop::cancelled;
	result.interrupted = end.how == Team::Stop::helper_gone;
	if (end.in_doubt) // a helper's error ends the run as one of the leader's does
		throw Error(end.why.code, end.why.message, {}, end.why.hint);
	if (end.how == Team::Stop::failed)
		result.failure = end.why;
	return result;
}

} // namespace

SendResult send_changes(const RunDefinition &run, const OperationMap &operations, Client &client,
                        const Comparison &planned) {
	const std::int64_t changes = planned.added + planned.changed + planned.removed;
	client.expect(static_cast<std::uint64_t>(changes));
	const auto team = make_team(run, operations, client, changes);
	DeliveryOptions options = delivery_options(run);
	options.hold_removals = team != nullptr;
	SendLoop loop(run, std::move(options), operations, client, Held::by_run, team.get());
	SendResult result;
	if (team) {
		result = send_with_helpers(loop, run, *team);
	} else {
		ChangePages pages(run);
		Delivery &delivery = loop.delivery();
		bool ended = false;
		result = loop.run([&] {
			while (!ended && delivery.wants_more()) {
				if (auto record = pages.next(loop.underway())) {
					delivery.offer(std::move(*record));
				} else {
					delivery.end();
					ended = true;
				}
			}
		});
	}
	if (result.failure || result.cancelled || result.interrupted)
		abort_rest(run.run_id);
	return result;
}

void help_to_send(const RunDefinition &run, const OperationMap &operations, Client &client, Team &team,
                  std::size_t concurrency) {
	client.expect(static_cast<std::uint64_t>(team.changes()));
	DeliveryOptions options = delivery_options(run);
	options.concurrency = concurrency;
	options.hold_removals = true;
	options.proven = true;
	SendLoop loop(run, std::move(options), operations, client, Held::by_run, &team);
	(void)send_parts(loop, run, team);
}

SendResult deliver(const RunDefinition &run, const OperationMap &operations, Client &client,
                   const std::function<std::optional<Record>()> &next,
                   const std::function<void(std::vector<Settled>, std::vector<Exchange>, std::uint64_t)> &write) {
	SendLoop loop(run, delivery_options(run), operations, client, Held::by_run);
	loop.write_with(write);
	Delivery &delivery = loop.delivery();
	bool ended = false;
	return loop.run([&] {
		while (!ended && delivery.wants_more()) {
			if (auto record = next()) {
				delivery.offer(std::move(*record));
			} else {
				delivery.end();
				ended = true;
			}
		}
	});
}

SendResult ask_open_jobs(const RunDefinition &run, const OperationMap &operations, Client &client) {
	const auto jobs = open_jobs(run);
	if (jobs.empty())
		return {};
	// Whoever asks for everything to be sent, or for nothing to be, need not wait. A run that carries on with such a
	// one after a crash does.
	if (run.resync != "none" && run.origin_run_id == run.run_id) {
		forget_jobs(run);
		return {};
	}
	// They were kept beside the snapshot as it is now: the comparison, which may give it another form of key, comes
	// later.
	RunDefinition then = run;
	if (run.former)
		then.plan.key = run.former->key;
	DeliveryOptions options = delivery_options(run);
	options.resuming = true;
	options.max_rejected = 1.0;
	options.max_rejected_count.reset();
	SendLoop loop(then, std::move(options), operations, client, Held::by_job);
	Delivery &delivery = loop.delivery();
	std::size_t next = 0;
	return loop.run([&] {
		while (next < jobs.size() && delivery.wants_more()) {
			auto &job = jobs[next++];
			delivery.resume(job.operation, records_of_job(then, job.job, loop.underway()), job.job, job.state);
		}
		if (next == jobs.size() && delivery.wants_more())
			delivery.end();
	});
}

} // namespace courier::pg
