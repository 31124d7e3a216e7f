#include "pg/run_helper.hpp"

#include "pg/fault.hpp"
#include "pg/locks.hpp"
#include "pg/run_queue.hpp"
#include "pg/run_team.hpp"
#include "pg/run_worker.hpp"
#include "pg/send.hpp"
#include "pg/settings.hpp"
#include "pg/workers.hpp"

extern "C" {
#include "miscadmin.h"
}

#include <curl/curl.h>

// A process that helps to send one run (run_team.cpp), and ends with it. It does not look at model and mapping, which
// may be others by now: what the leader made of them comes with the team. What goes wrong before it has taken a part is
// no harm to the run; afterwards it ends the run.

namespace courier::pg {

namespace {

using nlohmann::json;

// The members of a plan that are true or false, and matter once changes stand in the scratch.
template <class P, class F> void for_flags(P &plan, F f) {
	f("compare_changes", plan.compare_changes);
	f("keep_left", plan.keep_left);
	f("keep_payload", plan.keep_payload);
	f("removal_payload", plan.removal_payload);
	f("has_rejected", plan.has_rejected);
	f("all_new", plan.all_new);
}

template <class Field, class F> void for_flags_of_field(Field &field, F f) {
	f("compared", field.compared);
	f("reads_column", field.reads_column);
	f("omit_null", field.omit_null);
	f("insert_only", field.insert_only);
	f("match", field.match);
}

RunDefinition read_run(const std::string &text) {
	const json all = json::parse(text);
	RunDefinition run = read_definition(all.at("definition"));
	run.owner = all.at("owner");
	run.client.match_fields = all.at("match_fields").get<std::vector<std::string>>();
	Plan &plan = run.plan;
	plan.key.clear();
	for (auto &key : all.at("key"))
		plan.key.push_back({key.at("name"), key.at("type"), key.at("base_type")});
	plan.fields.clear();
	for (auto &field : all.at("fields")) {
		PlanField &out = plan.fields.emplace_back();
		out.name = field.at("name");
		out.expression = field.at("expression");
		out.type = field.at("type");
		for_flags_of_field(out, [&](const char *name, bool &flag) { flag = field.at(name); });
	}
	for_flags(plan, [&](const char *name, bool &flag) { flag = all.at(name); });
	return run;
}

// Under the lock that keeps the next run from being claimed: this one is being sent, by the leader that we were started
// by.
bool is_being_sent(const Team &team) {
	const auto found = in_extension_transaction(true, [&] {
		const Rows rows = spi_execute("SELECT FROM courier_internal.run WHERE run_id = $1 AND status = 'sending'"
		                              " AND worker_pid = $2 AND NOT cancel_requested",
		                              team.run_id(), team.leader_pid());
		return rows.processed() > 0;
	});
	return found.value_or(false);
}

struct Prepared {
	RunDefinition run;
	OperationMap operations;
	std::unique_ptr<Client> client;
};

Prepared prepare(const Team &team) {
	Prepared out;
	Transaction transaction;
	{
		Spi spi;
		out.run = read_run(team.plan());
		report_activity("helps sending", out.run.sync);
		out.client = open_client(out.run, out.operations);
	}
	transaction.commit();
	return out;
}

void help(Team &team) {
	Prepared prepared;
	std::optional<std::size_t> concurrency;
	try {
		prepared = prepare(team);
		concurrency = team.join();
	} catch (const Error &error) {
		// The secrets may be gone: the leader has them.
		call_postgres([&] {
			ereport(WARNING, errmsg("a helper of run %lld could not begin: %s", static_cast<long long>(team.run_id()),
			                        error.message.c_str()));
		});
	}
	if (!concurrency)
		return;
	COURIER_FAULT("helper_joined");
	try {
		help_to_send(prepared.run, prepared.operations, *prepared.client, team, *concurrency);
	} catch (const Error &error) {
		std::string code = error.sqlstate, message = error.message;
		if (!error.detail.empty())
			message += " (" + error.detail + ")";
		team.stop(Team::Stop::failed, {code, message, error.hint, {}}, true);
	}
}

void run_helper() {
	const RunHelperArguments arguments = read_helper_arguments();
	enter_worker(arguments.database, InvalidOid);
	settings::be_nice();
	curl_global_init(CURL_GLOBAL_DEFAULT);
	const auto team = Team::attach(arguments.memory, arguments.member);
	if (!team)
		return;
	set_current_run_id(team->run_id());
	const LOCKTAG lock = locks::helpers(team->sync_id());
	locks::join(lock);
	if (is_being_sent(*team))
		help(*team);
	locks::leave(lock);
	team->leave();
}

} // namespace

std::string describe_run(const RunDefinition &run) {
	const Plan &plan = run.plan;
	json all {{"definition", run.text},
	          {"owner", run.owner},
	          {"match_fields", run.client.match_fields},
	          {"key", json::array()},
	          {"fields", json::array()}};
	for (auto &key : plan.key)
		all["key"].push_back({{"name", key.name}, {"type", key.type}, {"base_type", key.base_type}});
	for (auto &field : plan.fields) {
		json out {{"name", field.name}, {"expression", field.expression}, {"type", field.type}};
		for_flags_of_field(field, [&](const char *name, bool flag) { out[name] = flag; });
		all["fields"].push_back(out);
	}
	for_flags(plan, [&](const char *name, bool flag) { all[name] = flag; });
	return all.dump();
}

} // namespace courier::pg

extern "C" void courier_run_helper_main(Datum) {
	courier::pg::enter_cpp([] { courier::pg::run_helper(); });
}
