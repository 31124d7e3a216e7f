#include "pg/send.hpp"

#include <algorithm>

#include "destinations/registry.hpp"
#include "http/multi.hpp"
#include "pg/change_pages.hpp"
#include "pg/fault.hpp"
#include "pg/housekeeping.hpp"
#include "pg/rate_gate.hpp"
#include "pg/settings.hpp"

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
// There is one wait, on the latch and libcurl's epoll descriptor together, so that DROP DATABASE, shutdown and cancel never
// wait for an HTTP answer. Everything between two waits is short, except page and settlement transactions.

namespace courier::pg {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using std::chrono::system_clock;

constexpr std::size_t settle_records = 1000;
constexpr milliseconds settle_every {1000};

double uniform() {
	return pg_prng_double(&pg_global_prng_state);
}

// A cancel that arrives during a settlement is taken afterwards: the outcomes are known and must be written.
class HoldCancel {
public:
	HoldCancel() : saved_(QueryCancelHoldoffCount) { QueryCancelHoldoffCount = saved_ + 1; }
	~HoldCancel() { QueryCancelHoldoffCount = saved_; } // an error has set it to zero
	HoldCancel(const HoldCancel &) = delete;

private:
	uint32 saved_;
};

auto utc_day() {
	return std::chrono::floor<std::chrono::days>(system_clock::now());
}

// DROP DATABASE holds this lock while it waits, five seconds, for everybody to leave. Under shared_preload_libraries its
// session tells us (drop_database.cpp); without, we look. The run is found interrupted if the database lives on.
void leave_dropped_database() {
	call_postgres([] {
		LOCKTAG tag;
		SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
		if (LockAcquire(&tag, AccessShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
			ereport(FATAL, errcode(ERRCODE_ADMIN_SHUTDOWN),
			        errmsg("pg_courier run worker leaves: the database is being dropped or renamed"));
	});
}

// What the user asked for while we send. In its own transaction.
bool must_stop(const RunDefinition &run) {
	if (!settings::enabled)
		return true;
	Transaction transaction;
	leave_dropped_database();
	Rows rows;
	{
		Spi spi;
		rows = spi_execute("SELECT cancel_requested FROM courier_internal.run WHERE run_id = $1", run.run_id);
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

void wait_for_something(const http::Multi &multi, milliseconds longest) {
	int events = WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
	call_postgres([&] {
		WaitLatchOrSocket(MyLatch, events, multi.descriptor(), static_cast<long>(longest.count()), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending) {
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	});
}

} // namespace

SendResult send_changes(const RunDefinition &run, const OperationMap &operations, Client &client,
                        const Comparison &planned) {
	http::Multi multi(multi_settings(run));
	TableRateGate gate(run.destination_id, rate_of(run, operations, client));
	Delivery delivery(delivery_options(run), operations, client, multi, gate, uniform);
	Settlement settlement(run);
	UnderwayRecords underway;
	ChangePages pages(run);
	std::vector<Settled> settled;
	std::vector<Exchange> exchanges;
	bool ended = false;
	SendResult result;

	auto cancel = [&] {
		result.cancelled = true;
		delivery.cancel();
	};
	auto settle = [&] {
		if (settled.empty() && exchanges.empty())
			return;
		HoldCancel hold;
		settlement.settle(std::move(settled), std::move(exchanges), underway, delivery.requests());
		settled.clear();
		exchanges.clear();
	};
	auto take = [&] {
		for (auto &one : delivery.take_settled())
			settled.push_back(std::move(one));
		for (auto &one : delivery.take_exchanges())
			exchanges.push_back(std::move(one));
	};

	gate.refresh(steady_clock::now());
	auto last_settled = steady_clock::now();
	auto day = utc_day();
	for (;;) {
		try {
			while (!ended && !result.cancelled && !delivery.failure() && delivery.wants_more()) {
				if (auto record = pages.next(underway)) {
					delivery.offer(std::move(*record));
				} else {
					delivery.end();
					ended = true;
				}
			}
			multi.on_activity();
			delivery.step(steady_clock::now(), system_clock::now());
			multi.on_activity(); // what was just started
			take();
			if (delivery.finished())
				break;

			auto now = steady_clock::now();
			if (settled.size() >= settle_records || now - last_settled >= settle_every) {
				settle();
				gate.refresh(now);
				if (!result.cancelled && must_stop(run))
					cancel();
				if (auto today = utc_day(); today != day) {
					ensure_partitions(); // a run may go on for days
					day = today;
				}
				last_settled = now = steady_clock::now();
			}
			milliseconds wait =
			    std::max(milliseconds(0), std::chrono::ceil<milliseconds>(last_settled + settle_every - now));
			if (auto next = delivery.next_step())
				wait = std::min(wait, std::max(milliseconds(0), std::chrono::ceil<milliseconds>(*next - now)));
			wait_for_something(multi, wait);
		} catch (const PgError &error) {
			if (!error.is_cancel() || result.cancelled)
				throw;
			cancel();
		}
	}
	settle();
	settlement.abort_rest(planned.added, planned.changed, planned.removed);
	result.totals = settlement.totals();
	result.failure = delivery.failure();
	return result;
}

} // namespace courier::pg
