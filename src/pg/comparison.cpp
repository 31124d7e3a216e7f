#include "pg/comparison.hpp"

#include "core/plan_doubt.hpp"
#include "destinations/operations.hpp"
#include "pg/fault.hpp"
#include "pg/settlement.hpp"

// The statements are core/plan.hpp; this file knows their order, and who may run which: what touches model, mapping,
// snapshot or scratch tables runs as the sync's owner, what touches courier_internal as the extension's owner. Values pass
// from one world to the other as parameters of built-in types, never by a statement that reads both.

namespace courier::pg {

namespace {

constexpr int page_rows = 5000;
constexpr std::int64_t few_rows = 20000; // of the snapshot and of the model: scratch tables of such a run are small

// Sort and merge over narrow tuples: cache-sized runs beat a large work_mem, and neither a hash join nor an index scan in
// key order keeps up (doc/architecture.md, "Finding changes"). Only around our own statement, never around the user's view.
OwnerSettings merge_settings() {
	return {{"enable_hashjoin", "off"},
	        {"enable_nestloop", "off"},
	        {"enable_indexscan", "off"},
	        {"enable_bitmapscan", "off"},
	        {"work_mem", "16MB"}};
}

// Joining back to the model, the changes are hashed and the model's rows pass by. Were the hash table too large for work_mem,
// the wide rows of the model would be written to disk, so it gets the room that it needs, up to a limit.
OwnerSettings join_back_settings(std::int64_t changes) {
	constexpr std::int64_t bytes_each = 64, limit_kb = 256 * 1024;
	std::int64_t wanted = std::min(changes * bytes_each / 1024, limit_kb);
	if (wanted <= work_mem)
		return {};
	return {{"work_mem", std::to_string(wanted) + "kB"}};
}

// Copies what was refused before into the run's scratch, page by page: the owner may not read courier_internal.
void copy_rejected(RunDefinition &run, SnapshotTable table) {
	{
		UserContext context(run.as_owner());
		spi_execute(create_rejected(run.plan));
	}
	if (table == SnapshotTable::made)
		return; // what was refused is forgotten
	std::string after, after_former;
	bool first = true;
	for (;;) {
		Rows rows = spi_execute(
		    "SELECT key, former, hash, outcome, origin_run_id, next_attempt_at FROM courier_internal.rejected"
		    " WHERE sync_id = $1 AND ($4 OR (key, former) > ($2, $3)) ORDER BY key, former LIMIT $5",
		    run.sync_id, after, after_former, first, page_rows);
		if (rows.empty())
			return;
		first = false;
		run.plan.has_rejected = true;
		std::vector<std::string> keys, formers, outcomes;
		std::vector<std::optional<Uuid>> hashes;
		std::vector<std::int64_t> origins;
		std::vector<std::optional<Timestamptz>> due;
		for (std::size_t row = 0; row < rows.size(); row++) {
			keys.push_back(rows.get<std::string>(row, 0));
			formers.push_back(rows.get<std::string>(row, 1));
			hashes.push_back(rows.get<std::optional<Uuid>>(row, 2));
			outcomes.push_back(rows.get<std::string>(row, 3));
			origins.push_back(rows.get<std::int64_t>(row, 4));
			due.push_back(rows.get<std::optional<Timestamptz>>(row, 5));
		}
		after = keys.back();
		after_former = formers.back();
		UserContext context(run.as_owner());
		spi_execute("INSERT INTO " + scratch_table(run.plan, "rej") +
		                " SELECT * FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[], $3::pg_catalog.uuid[],"
		                " $4::pg_catalog.text[], $5::pg_catalog.int8[], $6::pg_catalog.timestamptz[])",
		            keys, formers, hashes, outcomes, origins, due);
	}
}

// Rejected records that no difference mentions any more: accepted in another way, back to the accepted value, or gone.
void forget_stale_rejected(const RunDefinition &run) {
	std::vector<std::string> keys, formers;
	{
		UserContext context(run.as_owner());
		Rows rows = spi_execute(stale_rejected(run.plan));
		for (std::size_t row = 0; row < rows.size(); row++) {
			keys.push_back(rows.get<std::string>(row, 0));
			formers.push_back(rows.get<std::string>(row, 1));
		}
	}
	if (!keys.empty())
		spi_execute("DELETE FROM courier_internal.rejected r USING unnest($2::text[], $3::text[]) u (key, former)"
		            " WHERE r.sync_id = $1 AND r.key = u.key AND r.former = u.former",
		            run.sync_id, keys, formers);
}

void store_invalid(const RunDefinition &run) {
	std::vector<std::string> reasons;
	std::vector<std::optional<std::string>> keys;
	std::vector<std::optional<Jsonb>> primary_keys;
	std::vector<std::int64_t> copies;
	{
		UserContext context(run.as_owner());
		Rows rows =
		    spi_execute("SELECT reason, key, pk, copies FROM (SELECT i.*, pg_catalog.row_number() OVER (PARTITION BY "
		                "reason) AS n FROM " +
		                scratch_table(run.plan, "inv") + " i) i WHERE n OPERATOR(pg_catalog.<=) 1000");
		for (std::size_t row = 0; row < rows.size(); row++) {
			reasons.push_back(rows.get<std::string>(row, 0));
			keys.push_back(rows.get<std::optional<std::string>>(row, 1));
			primary_keys.push_back(rows.get<std::optional<Jsonb>>(row, 2));
			copies.push_back(rows.get<std::int64_t>(row, 3));
		}
	}
	spi_execute("DELETE FROM courier_internal.invalid_row WHERE sync_id = $1", run.sync_id);
	if (!reasons.empty())
		spi_execute("INSERT INTO courier_internal.invalid_row (sync_id, run_id, reason, key, primary_key, copies)"
		            " SELECT $1, $2, u.* FROM unnest($3::text[], $4::text[], $5::jsonb[], $6::int8[]) u",
		            run.sync_id, run.run_id, reasons, keys, primary_keys, copies);
}

struct RowCounts {
	std::int64_t rows = 0, null_keys = 0, null_matches = 0;
	std::optional<std::int64_t> records; // of the snapshot
};

RowCounts row_counts(const Rows &rows, int first = 0) {
	return {rows.get<std::int64_t>(0, first), rows.get<std::int64_t>(0, first + 1),
	        rows.get<std::int64_t>(0, first + 2),
	        {}};
}

RowCounts stage_model(const RunDefinition &run) {
	run_as_owner(run, stage(run.plan));
	UserContext context(run.as_owner());
	return row_counts(spi_execute(count_rows(run.plan)));
}

// Finds the buckets that differ, in the model or in what is staged of it, and counts the rows on the way.
RowCounts narrow(RunDefinition &run, bool of_model, int buckets) {
	UserContext context(run.as_owner());
	Rows rows = spi_execute(sums(run.plan, of_model, buckets));
	run.plan.narrow = narrowing(rows.get<std::optional<std::string>>(0, 0).value_or(""),
	                            rows.get<std::optional<std::int64_t>>(0, 1).value_or(0), buckets);
	run.plan.narrow_stage = of_model;
	RowCounts counts = row_counts(rows, 2);
	counts.records = rows.get<std::int64_t>(0, 5);
	return counts;
}

// Stages what has to be compared.
RowCounts stage_differences(RunDefinition &run) {
	int buckets = wanted_buckets(run.plan, run.snapshot_records, run.last_changes);
	if (buckets == 0)
		return stage_model(run);
	bool of_model = may_sum_model(run.plan);
	if (!of_model)
		run_as_owner(run, stage(run.plan));
	RowCounts counts = narrow(run, of_model, buckets);
	if (of_model)
		run_as_owner(run, stage(run.plan));
	return counts;
}

void note_unusable(const RunDefinition &run, const RowCounts &counts, Comparison &result) {
	result.rows = counts.rows;
	result.null_keys = counts.null_keys > 0;
	result.invalid = counts.null_keys + counts.null_matches;
	if (counts.null_keys > 0)
		run_as_owner(run, note_null_keys(run.plan));
	if (counts.null_matches > 0)
		run_as_owner(run, note_null_matches(run.plan));
}

std::int64_t snapshot_count(const RunDefinition &run, const std::optional<std::int64_t> &counted = {}) {
	if (counted)
		return *counted;
	UserContext context(run.as_owner());
	return spi_execute("SELECT pg_catalog.count(*) FROM " + snapshot_table(run.sync_id)).get<std::int64_t>(0, 0);
}

// The guards. A run that was approved may go up to the numbers that were blocked, not beyond.
std::optional<Error> guard(const RunDefinition &run, const Comparison &result) {
	if (result.removed > 0) {
		std::int64_t total = snapshot_count(run, result.records);
		Threshold limit = run.options.max_removed.value_or(Threshold {0.5, {}});
		bool applies = run.options.max_removed || total >= 1000;
		auto removed = static_cast<std::uint64_t>(result.removed);
		if (applies && limit.exceeded(removed, static_cast<std::uint64_t>(total)) &&
		    removed > run.approved_removed.value_or(0))
			return Error("55000",
			             "the model of sync \"" + run.sync + "\" lost " + std::to_string(result.removed) + " of " +
			                 std::to_string(total) + " records, more than max_removed allows",
			             "max_removed",
			             "Look at the model. If the removals are right: SELECT courier.approve_run(" +
			                 std::to_string(run.run_id) + ")");
	}
	std::int64_t changes = result.added + result.changed + result.removed;
	if (run.options.max_changes && !run.is_first_run()) {
		std::int64_t total = snapshot_count(run, result.records);
		auto count = static_cast<std::uint64_t>(changes);
		if (run.options.max_changes->exceeded(count, static_cast<std::uint64_t>(total)) &&
		    count > run.approved_changes.value_or(0))
			return Error("55000",
			             "sync \"" + run.sync + "\" would send " + std::to_string(changes) +
			                 " changes, more than max_changes allows",
			             "max_changes",
			             "Look at the model. If the changes are right: SELECT courier.approve_run(" +
			                 std::to_string(run.run_id) + ")");
	}
	return std::nullopt;
}

void store_format(const RunDefinition &run, bool first_run_done) {
	spi_execute("UPDATE courier_internal.sync SET snapshot_format = $2 WHERE sync_id = $1", run.sync_id,
	            Jsonb {format_to_json(format_of(run.plan), first_run_done)});
}

// What earlier runs of this sync left in doubt when they were interrupted.
void take_in_doubt(const RunDefinition &run, bool mark) {
	Rows rows = scratch_of_earlier_runs(run);
	UserContext context(run.as_owner());
	for (std::size_t row = 0; row < rows.size(); row++) {
		if (!rows.get<bool>(row, 2))
			continue;
		Plan its = run.plan;
		its.run_id = rows.get<std::int64_t>(row, 1);
		std::string table = scratch_table(its, "doubt");
		if (spi_execute("SELECT pg_catalog.to_regclass($1)::pg_catalog.oid", table).is_null(0, 0))
			continue; // somebody else's, of a similar name
		if (mark)
			spi_execute(mark_in_doubt(run.plan, table));
		spi_execute("DROP TABLE " + table);
	}
}

// Copies of a key in chg are all invalid.
void drop_copies(const RunDefinition &run, Comparison &result) {
	run_as_owner(run, note_duplicates(run.plan));
	{
		UserContext context(run.as_owner());
		result.invalid += spi_execute("SELECT coalesce(pg_catalog.sum(copies), 0)::pg_catalog.int8 FROM " +
		                              scratch_table(run.plan, "inv") +
		                              " WHERE reason OPERATOR(pg_catalog.=) 'duplicate_key'")
		                      .get<std::int64_t>(0, 0);
	}
	run_as_owner(run, drop_duplicates(run.plan));
}

// Against an empty snapshot there is nothing to compare: every row is added.
bool is_all_new(const RunDefinition &run) {
	const Plan &plan = run.plan;
	if (plan.keep_match() || plan.former || !plan.only_key.empty() || run.snapshot_records > 0)
		return false;
	UserContext context(run.as_owner());
	return spi_execute("SELECT FROM " + snapshot_table(run.sync_id) + " LIMIT 1").processed() == 0;
}

void add_all(RunDefinition &run, Comparison &result) {
	Plan &plan = run.plan;
	plan.all_new = true;
	RowCounts counts;
	{
		UserContext context(run.as_owner());
		counts = row_counts(spi_execute(count_model(plan)));
	}
	COURIER_FAULT("staged");
	run_as_owner(run, create_changes(plan));
	note_unusable(run, counts, result);
	run_as_owner(run, build_first(plan));
	COURIER_FAULT("compared");
	std::int64_t copies;
	{
		UserContext context(run.as_owner(merge_settings()));
		copies = spi_execute(count_copies(plan)).get<std::int64_t>(0, 0);
	}
	if (copies == 0)
		return;
	for (auto &statement : find_copies(plan))
		run_as_owner(run, statement);
	drop_copies(run, result);
}

void find_changes(RunDefinition &run, Comparison &result, bool given_up) {
	Plan &plan = run.plan;
	RowCounts counts = stage_differences(run);
	result.records = counts.records;
	plan.small = plan.small && counts.rows <= few_rows;
	COURIER_FAULT("staged");
	if (plan.former && !plan.former_lost)
		run_as_owner(run, adopt_hashes(plan));
	run_as_owner(run, create_changes(plan));
	note_unusable(run, counts, result);
	run_as_owner(run, compare(plan), merge_settings());
	run_as_owner(run, "ANALYZE " + scratch_table(run.plan, "dif"));
	COURIER_FAULT("compared");

	if (plan.keep_match()) {
		result.invalid += run_as_owner(run, note_shared_matches(plan));
		run_as_owner(run, drop_shared_matches(plan));
	}
	std::int64_t wanted, gone, never_there;
	{
		UserContext context(run.as_owner());
		auto count = [](const char *ops) {
			return "pg_catalog.count(*) FILTER (WHERE op OPERATOR(pg_catalog.=) ANY (ARRAY[" + std::string(ops) + "]::\"char\"[]))";
		};
		Rows rows = spi_execute("SELECT " + count("'a', 'c'") + ", " + count("'r', 'f'") + ", " + count("'f'") +
		                        " FROM " + scratch_table(run.plan, "dif"));
		wanted = rows.get<std::int64_t>(0, 0);
		gone = rows.get<std::int64_t>(0, 1);
		never_there = rows.get<std::int64_t>(0, 2);
	}
	if (wanted > 0 && run_as_owner(run, build_changes(plan), join_back_settings(wanted + gone)) != wanted)
		drop_copies(run, result);
	if (plan.rename_by_removal && wanted > 0)
		run_as_owner(run, mark_renamed(plan));
	// A run of one record does not see who else has the value; the next whole run removes it.
	if (plan.rename_by_removal && plan.only_key.empty()) {
		if (wanted > 0)
			run_as_owner(run, add_rename_removals(plan));
		if (given_up)
			run_as_owner(run, add_former_removals(plan));
	}
	bool hold = result.null_keys && !run.options.remove_despite_null_keys;
	if (gone > 0 && hold) {
		result.held_removals = gone;
	} else if (gone > 0) {
		std::int64_t left = 0;
		if (plan.keep_match() && plan.send_removals && plan.hold_removals)
			left += run_as_owner(run, drop_held_removals(plan));
		if (never_there > 0 || !plan.send_removals)
			left += run_as_owner(run, forget_removed(plan));
		if (left > 0)
			result.records.reset();
		if (!plan.keep_left || plan.send_removals)
			result.snapshot_change -= left;
		if (plan.send_removals)
			run_as_owner(run, build_removals(plan), join_back_settings(gone));
	}
	if (plan.keep_left && plan.only_key.empty()) {
		run_as_owner(run, recall_left(plan));
		if (run.options.remember) {
			UserContext context(run.as_owner());
			result.snapshot_change -=
			    static_cast<std::int64_t>(spi_execute(forget_left(plan), Interval {*run.options.remember}).processed());
		}
	}
	if (plan.former && plan.keep_match() && plan.former->match != format_of(plan).match)
		run_as_owner(run, adopt_matches(plan));
}

} // namespace

Comparison compare_model(RunDefinition &run) {
	Plan &plan = run.plan;
	Comparison result;
	result.table = ensure_snapshot(run);
	if (plan.only_key.empty()) // keys of another type say nothing
		take_in_doubt(run, run.former && same_key_types(*run.former, plan));
	bool given_up = plan.rename_by_removal && prepare_former(run);
	plan.small = run.former && run.snapshot_records <= few_rows;
	copy_rejected(run, result.table);
	if (is_all_new(run))
		add_all(run, result);
	else
		find_changes(run, result, given_up);
	{
		UserContext context(run.as_owner());
		Rows rows = spi_execute(count_changes(plan));
		result.added = rows.get<std::int64_t>(0, 0);
		result.changed = rows.get<std::int64_t>(0, 1);
		result.removed = rows.get<std::int64_t>(0, 2);
	}
	result.blocked = plan.only_key.empty() ? guard(run, result) : std::nullopt;
	if (result.blocked)
		return result;
	if (result.changed + result.removed > 0)
		run_as_owner(run, note_in_doubt(plan));
	return result;
}

Comparison take_baseline(RunDefinition &run) {
	Comparison result;
	result.table = ensure_snapshot(run);
	take_in_doubt(run, false);
	RowCounts counts = stage_model(run);
	run_as_owner(run, create_changes(run.plan));
	note_unusable(run, counts, result);
	run_as_owner(run, baseline_remove(run.plan), merge_settings());
	run_as_owner(run, baseline_fill(run.plan));
	// What could not be taken has no place in the snapshot either: copies of a key, shared match values.
	result.records = snapshot_count(run);
	result.invalid = counts.rows - *result.records;
	if (result.invalid > counts.null_keys + counts.null_matches) {
		run_as_owner(run, note_baseline_duplicates(run.plan));
		if (run.plan.keep_match())
			run_as_owner(run, note_shared_matches(run.plan));
	}
	forget_former(run);
	return result;
}

void store_comparison(const RunDefinition &run, const Comparison &found) {
	const Plan &plan = run.plan;
	note_snapshot(run, found.table);
	if (run.is_baseline())
		spi_execute("UPDATE courier_internal.sync_state SET snapshot_records = $2 WHERE sync_id = $1", run.sync_id,
		            *found.records);
	else
		count_snapshot(run.sync_id, found.snapshot_change);
	if (run.is_baseline() || found.table == SnapshotTable::made)
		spi_execute("DELETE FROM courier_internal.rejected WHERE sync_id = $1", run.sync_id);
	else if (plan.only_key.empty() && plan.has_rejected)
		forget_stale_rejected(run);
	if (plan.only_key.empty()) {
		store_invalid(run);
		store_format(run, run.first_run_done || run.is_baseline());
	} else if (!run.former) {
		store_format(run, false); // what the test puts into the snapshot has this form
	}
}

// The run is in the name. Asking of every run that there ever was whether a table is named like it cost 5 ms where
// there were a hundred, and more with each.
Rows scratch_of_earlier_runs(const RunDefinition &run) {
	return spi_execute(
	    "SELECT pg_catalog.format('%I.%I', 'courier_data', x.relname), x.run_id, x.relname ~ '^run_[0-9]+_doubt_'"
	    " FROM (SELECT c.relname, (pg_catalog.regexp_match(c.relname::text, '^run_([0-9]{1,18})_'))[1]::int8 AS run_id"
	    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	    " WHERE n.nspname = 'courier_data' AND c.relkind = 'r' AND c.relname LIKE 'run\\_%' OFFSET 0) x"
	    " JOIN courier_internal.run r ON r.run_id = x.run_id WHERE r.sync_id = $1 AND r.run_id <> $2",
	    run.sync_id, run.run_id);
}

void drop_scratch(const RunDefinition &run, bool in_doubt) {
	std::string tables;
	for (const char *suffix : {"cur", "dif", "chg", "rej", "inv"})
		tables += (tables.empty() ? "" : ", ") + scratch_table(run.plan, suffix);
	if (!in_doubt)
		tables += ", " + scratch_table(run.plan, "doubt");
	UserContext context(run.as_owner({{"client_min_messages", "warning"}}));
	spi_execute("DROP TABLE IF EXISTS " + tables);
}

} // namespace courier::pg
