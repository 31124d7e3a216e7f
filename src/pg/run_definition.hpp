#pragma once

#include <nlohmann/json.hpp>

#include "core/options.hpp"
#include "core/plan.hpp"
#include "destinations/client_settings.hpp"
#include "pg/guard.hpp"
#include "pg/user_context.hpp"

namespace courier::pg {

using OwnerSettings = std::vector<std::pair<std::string, std::string>>;

// All that a run (or a preview) knows of its sync, as it was when it started: later changes of mapping or config are for
// the next run.
struct RunDefinition {
	std::int64_t run_id = 0;
	std::string resync = "none";
	std::int64_t origin_run_id = 0; // idempotency keys are made with it
	std::optional<std::uint64_t> approved_removed, approved_changes;
	nlohmann::json test; // of courier.test_record; null: an ordinary run

	int sync_id = 0;
	std::string sync, mode, sync_type, on_removed, first_run, search_path, owner_name;
	Oid owner = InvalidOid;
	SyncOptions options;
	std::int64_t snapshot_records = 0;
	std::int64_t last_changes = 0; // that the last run planned

	int destination_id = 0;
	ClientSettings client;            // without the values of secrets
	nlohmann::json secret_references; // {"token": {"file": ...}}

	std::optional<PlanFormat> former; // what the snapshot was made with; nullopt: it is empty
	Plan plan;
	std::optional<int> digest_records; // set: one message for all changes of the run, with so many samples of each kind

	std::string text; // that all of it but the plan was read from

	bool first_run_done = false; // by a run that came to its end; a test of one record is none

	bool is_first_run() const { return !first_run_done; }
	bool is_baseline() const {
		return resync == "baseline" ||
		       (resync == "none" && is_first_run() && first_run == "baseline" && test.is_null());
	}
	// Without JIT: each process of each statement compiles anew, which costs up to half a second of CPU and saves less.
	UserSettings as_owner(OwnerSettings settings = {}) const {
		settings.emplace_back("jit", "off");
		return {owner, search_path, options.time_zone, std::move(settings)};
	}
};

// From the text of courier_internal.run_definition or sync_definition.
RunDefinition read_definition(const std::string &json);

// Fills in the plan: looks at the model's columns and analyses the mapping, as the owner. In a transaction, connected to
// SPI. Errors: 42P01 model gone, 42703 column gone, those of the mapping.
void complete_plan(RunDefinition &run);

// Runs a statement as the sync's owner. Gives the number of rows.
std::int64_t run_as_owner(const RunDefinition &run, const std::string &sql, OwnerSettings settings = {});

std::string format_to_json(const PlanFormat &format, bool first_run_done);

} // namespace courier::pg
