#include "pg/errand.hpp"

#include <atomic>
#include <nlohmann/json.hpp>

#include "pg/settlement.hpp"
#include "pg/spi.hpp"
#include "pg/workers.hpp"

extern "C" {
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/latch.h"
#include "utils/wait_event.h"
}

// Races, and what is done about them
//
// - The worker dies before it answers: the caller watches the worker, not only the answer.
// - The caller goes away first (cancel, timeout): the segment lives until the last of the two has let go of it; the worker
//   finishes what it began and nobody reads its answer.
// - The answer is written before its state, with a release store, and read after it.

namespace courier::pg {

namespace {

constexpr std::size_t answer_room = 512 << 10;

struct Segment {
	Oid database;
	std::atomic<int> state; // 0 asked, 1 answered, 2 an error
	std::size_t request_size, answer_size;
	char text[]; // the request, then room for the answer
};

struct Reply {
	BgwHandleStatus worker;
	int state;
};

std::string error_json(const Error &error) {
	return nlohmann::json {{"sqlstate", error.sqlstate},
	                       {"message", storable(error.message)},
	                       {"detail", storable(error.detail)},
	                       {"hint", storable(error.hint)}}
	    .dump();
}

} // namespace

std::string run_errand(const std::string &request, long timeout_ms) {
	std::size_t size = offsetof(Segment, text) + request.size() + answer_room;
	BackgroundWorkerHandle *handle = nullptr;
	dsm_segment *dsm = nullptr;
	auto *segment = call_postgres([&]() -> Segment * {
		dsm = dsm_create(size, 0);
		auto *shared = static_cast<Segment *>(dsm_segment_address(dsm));
		shared->database = MyDatabaseId;
		new (&shared->state) std::atomic<int>(0);
		shared->request_size = request.size();
		shared->answer_size = 0;
		std::memcpy(shared->text, request.data(), request.size());

		BackgroundWorker worker;
		std::memset(&worker, 0, sizeof(worker));
		worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
		worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
		worker.bgw_restart_time = BGW_NEVER_RESTART;
		worker.bgw_notify_pid = MyProcPid;
		worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(dsm));
		strlcpy(worker.bgw_name, "pg_courier test", BGW_MAXLEN);
		strlcpy(worker.bgw_type, "pg_courier test", BGW_MAXLEN);
		strlcpy(worker.bgw_library_name, "pg_courier", BGW_MAXLEN);
		strlcpy(worker.bgw_function_name, "courier_errand_main", BGW_MAXLEN);
		if (!RegisterDynamicBackgroundWorker(&worker, &handle))
			ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("no background worker is free for the test"),
			        errhint("Raise max_worker_processes, or try again when fewer syncs run."));
		return shared;
	});

	Reply reply {BGWH_NOT_YET_STARTED, 0};
	TimestampTz deadline = GetCurrentTimestamp() + timeout_ms * INT64CONST(1000);
	for (;;) {
		reply = call_postgres([&]() -> Reply {
			pid_t pid;
			BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);
			return {status, segment->state.load(std::memory_order_acquire)};
		});
		if (reply.state != 0 || reply.worker == BGWH_STOPPED)
			break;
		long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (left <= 0)
			break;
		call_postgres([&] {
			WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, std::min(left, 100L),
			          PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		});
	}
	int state = segment->state.load(std::memory_order_acquire);
	std::string answer(segment->text + segment->request_size, state == 0 ? 0 : segment->answer_size);
	call_postgres([&] { dsm_detach(dsm); });
	if (state == 1)
		return answer;
	if (state == 2) {
		auto error = nlohmann::json::parse(answer);
		throw Error(error.at("sqlstate"), error.at("message"), error.at("detail"), error.at("hint"));
	}
	if (reply.worker == BGWH_STOPPED)
		throw Error("58000", "the worker that ran the test ended without an answer", {}, "The server's log says why.");
	throw Error("57014", "no answer within the timeout", {}, "What was begun goes on: see courier.runs.");
}

namespace {

void serve_errand(Datum argument) {
	dsm_segment *dsm = call_postgres([&] { return dsm_attach(DatumGetUInt32(argument)); });
	if (!dsm)
		return; // the caller has gone
	auto *segment = static_cast<Segment *>(dsm_segment_address(dsm));
	enter_worker(segment->database, InvalidOid);
	std::string request(segment->text, segment->request_size);
	std::string answer;
	int state = 1;
	try {
		answer = answer_errand(request);
	} catch (const Error &error) {
		answer = error_json(error);
		state = 2;
	}
	if (answer.size() > answer_room) {
		answer = error_json(Error("54000", "the answer is too large to show"));
		state = 2;
	}
	std::memcpy(segment->text + segment->request_size, answer.data(), answer.size());
	segment->answer_size = answer.size();
	segment->state.store(state, std::memory_order_release);
	call_postgres([&] { dsm_detach(dsm); });
}

} // namespace

// courier_internal.errand(request text, timeout_ms integer) RETURNS text
COURIER_FUNCTION(courier_errand) {
	return enter_cpp([&]() -> Datum { return text_datum(run_errand(text_argument(fcinfo, 0), PG_GETARG_INT32(1))); });
}

} // namespace courier::pg

extern "C" void courier_errand_main(Datum segment) {
	courier::pg::enter_cpp([&] { courier::pg::serve_errand(segment); });
}
