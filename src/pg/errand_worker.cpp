#include <curl/curl.h>

#include "destinations/registry.hpp"
#include "http/multi.hpp"
#include "pg/errand.hpp"
#include "pg/run_worker.hpp"
#include "pg/secrets.hpp"
#include "pg/settings.hpp"
#include "pg/settlement.hpp"
#include "pg/spi.hpp"

extern "C" {
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/wait_event.h"
}

namespace courier::pg {

namespace {

using nlohmann::json;

Answer exchange(http::Multi &multi, Request request) {
	multi.start(1, std::move(request));
	for (;;) {
		multi.on_activity();
		auto finished = multi.take_finished();
		if (!finished.empty())
			return std::move(finished.front().answer);
		int events = WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
		call_postgres([&] {
			WaitLatchOrSocket(MyLatch, events, multi.descriptor(), 1000, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		});
	}
}

ClientSettings destination_settings(const std::string &name) {
	Transaction transaction;
	ClientSettings out;
	{
		Spi spi;
		Rows rows = spi_execute("SELECT d.destination_id, d.type, d.config, d.secrets, t.definition"
		                        " FROM courier_internal.destination d"
		                        " LEFT JOIN courier_internal.destination_type t ON t.name = d.type WHERE d.name = $1",
		                        name);
		if (rows.empty())
			throw Error("55000", "destination \"" + name + "\" is not committed yet", {}, "Commit, then test it.");
		out.destination = name;
		out.type = rows.get<std::string>(0, 1);
		out.config = json::parse(rows.get<std::string>(0, 2));
		out.definition = rows.is_null(0, 4) ? json() : json::parse(rows.get<std::string>(0, 4));
		out.secrets = resolve_secrets(rows.get<int>(0, 0), name, json::parse(rows.get<std::string>(0, 3)));
		out.timeout = std::chrono::seconds(10);
	}
	transaction.commit();
	return out;
}

// Anything but a refusal of the credentials shows that address and credentials work: a 404 on the base URL is an answer of
// the right server.
std::string test_destination(const std::string &name) {
	ClientSettings settings = destination_settings(name);
	auto client = make_client(settings);
	http::MultiSettings multi_settings;
	multi_settings.filter = http::AddressFilter(settings::allow_addresses ? settings::allow_addresses : "");
	multi_settings.tls = tls_settings(settings);
	http::Multi multi(multi_settings);
	auto now = std::chrono::system_clock::now();
	json out {{"ok", false}, {"http_status", nullptr}, {"duration_us", 0}};
	if (auto request = client->authorize(now)) {
		Answer answer = exchange(multi, std::move(*request));
		out["duration_us"] = answer.duration.count();
		auto refused =
		    answer.transfer == Transfer::complete ? client->authorized(answer, now) : std::optional(answer.error);
		if (refused) {
			if (answer.status)
				out["http_status"] = answer.status;
			out["message"] = storable(client->redact("no token: " + *refused), 1000);
			return out.dump();
		}
	}
	std::optional<Request> request = client->test(now);
	Answer answer;
	std::optional<Tested> tested;
	for (int asked = 0; request && asked < 5; asked++) {
		answer = exchange(multi, std::move(*request));
		out["duration_us"] = answer.duration.count();
		if (answer.transfer != Transfer::complete)
			break;
		tested = client->tested(answer, now);
		request = tested && !tested->problem ? std::move(tested->next) : std::nullopt;
	}
	if (answer.transfer != Transfer::complete) {
		out["message"] = storable(client->redact(answer.error), 1000);
		return out.dump();
	}
	out["http_status"] = answer.status;
	bool refused = answer.status == 401 || answer.status == 403 || answer.status == 407;
	out["ok"] = !refused && answer.status < 500;
	if (tested && !refused && answer.status < 500) {
		out["ok"] = !tested->problem;
		out["message"] = storable(client->redact(tested->problem.value_or(tested->words)), 1000);
		return out.dump();
	}
	out["message"] = refused ? "the credentials are refused: " + storable(client->redact(answer.body), 500)
	                 : answer.status >= 500
	                     ? "the destination answers with an error: " + storable(client->redact(answer.body), 500)
	                     : "the destination answers";
	return out.dump();
}

std::string test_result(std::int64_t run_id) {
	Transaction transaction;
	std::string out;
	{
		Spi spi;
		Rows rows = spi_execute(
		    "SELECT pg_catalog.json_build_object('status', r.status, 'error', r.error, 'error_code', r.error_code, "
		    "'run_id', r.run_id,"
		    " 'requests', (SELECT pg_catalog.json_agg(q ORDER BY q.sent_at) FROM courier_internal.request q WHERE "
		    "q.run_id = r.run_id),"
		    " 'outcome', (SELECT l.outcome FROM courier_internal.change_log l WHERE l.run_id = r.run_id ORDER BY "
		    "l.changed_at DESC LIMIT 1),"
		    " 'message', (SELECT pg_catalog.concat_ws(': ', l.error_code, l.message) FROM courier_internal.change_log l"
		    " WHERE l.run_id = r.run_id ORDER BY l.changed_at DESC LIMIT 1))"
		    " FROM courier_internal.run r WHERE r.run_id = $1",
		    run_id);
		out = rows.get<std::string>(0, 0);
	}
	transaction.commit();
	return out;
}

// The run is this worker's own: queued, claimed and settled like any other, so nothing special can go wrong with it.
std::string test_record(const json &request) {
	std::int64_t run_id;
	{
		Transaction transaction;
		{
			Spi spi;
			Rows rows =
			    spi_execute("INSERT INTO courier_internal.run (sync_id, triggered_by, test)"
			                " SELECT s.sync_id, $2, $3 FROM courier_internal.sync s WHERE s.name = $1 RETURNING run_id",
			                request.at("sync").get<std::string>(), request.at("caller").get<std::string>(),
			                Jsonb {request.at("test").dump()});
			if (rows.empty())
				throw Error("55000", "sync \"" + request.at("sync").get<std::string>() + "\" is not committed yet", {},
				            "Commit, then test it.");
			run_id = rows.get<std::int64_t>(0, 0);
		}
		transaction.commit();
	}
	for (;;) {
		auto claim = claim_run(run_id);
		if (claim) {
			execute_run(*claim);
			release(*claim);
			if (claim->run_id == run_id)
				return test_result(run_id);
			continue;
		}
		// Another run of the sync is active; it ends some time.
		call_postgres([] {
			WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		});
		json state = json::parse(test_result(run_id));
		std::string status = state.at("status");
		if (status != "queued" && status != "querying" && status != "sending")
			return state.dump();
	}
}

} // namespace

std::string answer_errand(const std::string &request_text) {
	curl_global_init(CURL_GLOBAL_DEFAULT);
	json request = json::parse(request_text);
	if (request.at("kind") == "destination")
		return test_destination(request.at("name"));
	return test_record(request);
}

} // namespace courier::pg
