#include "pg/snapshot_table.hpp"

#include "pg/spi.hpp"

namespace courier::pg {

namespace {

bool same_key_names(const PlanFormat &former, const Plan &plan) {
	return std::equal(former.key.begin(), former.key.end(), plan.key.begin(), plan.key.end(),
	                  [](const PlanKey &a, const PlanKey &b) { return a.name == b.name; });
}

// Such a table is the owner's, so he could have done anything to it: what the run relies on is looked at before each use.
Rows plain_table(const RunDefinition &run, const std::string &table) {
	return spi_execute("SELECT c.relkind = 'r' AND NOT c.relhasrules AND NOT c.relrowsecurity AND NOT c.relhassubclass"
	                " AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid)"
	                " AND c.relowner = $2"
	                " FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)",
	                table, ObjectId {run.owner});
}

// False: there is no such table.
bool check_own_table(const RunDefinition &run, const std::string &table) {
	Rows rows = plain_table(run, table);
	if (rows.empty())
		return false;
	if (!rows.get<bool>(0, 0))
		throw Error("55000", "the table " + table + " of sync \"" + run.sync + "\" is not as pg_courier made it",
		            "It must be a plain table of the sync's owner without triggers, rules, row security and children.",
		            "Remove what was added to it. Of rules and children that are gone, PostgreSQL knows after VACUUM ANALYZE " +
		                table + ".");
	return true;
}

} // namespace

bool same_key_types(const PlanFormat &former, const Plan &plan) {
	return std::equal(former.key.begin(), former.key.end(), plan.key.begin(), plan.key.end(),
	                  [](const PlanKey &a, const PlanKey &b) { return a.type == b.type; });
}

bool is_plain_table(const RunDefinition &run, const std::string &table) {
	Rows rows = plain_table(run, table);
	return !rows.empty() && rows.get<bool>(0, 0);
}

void make_snapshot(const RunDefinition &run) {
	run_as_owner(run, create_snapshot(run.plan));
}

// Which table it is: the owner of that one, and of no other of the same name, owns the sync.
void note_snapshot(const RunDefinition &run, SnapshotTable done) {
	if (done == SnapshotTable::kept)
		return;
	spi_execute("INSERT INTO courier_internal.sync_state AS t (sync_id, snapshot_oid)"
	            " VALUES ($1, pg_catalog.to_regclass($2)::pg_catalog.oid)"
	            " ON CONFLICT (sync_id) DO UPDATE SET snapshot_oid = excluded.snapshot_oid,"
	            "   snapshot_records = CASE WHEN $3 THEN 0 ELSE t.snapshot_records END",
	            run.sync_id, snapshot_table(run.sync_id), done == SnapshotTable::made);
}

SnapshotTable ensure_snapshot(RunDefinition &run) {
	bool exists =
	    !spi_execute("SELECT pg_catalog.to_regclass($1)::pg_catalog.oid", snapshot_table(run.sync_id)).is_null(0, 0);
	bool renew = run.resync != "none";
	if (exists) {
		check_snapshot_table(run);
		if (!run.former) {
			// Never used; the model's key may be another one by now.
			run_as_owner(run, "DROP TABLE " + snapshot_table(run.sync_id));
			forget_former(run);
			make_snapshot(run);
			return SnapshotTable::made;
		}
		if (same_key_names(*run.former, run.plan)) {
			if (same_key_types(*run.former, run.plan))
				return SnapshotTable::kept;
			for (auto &statement : convert_snapshot(run.plan, run.former->key))
				run_as_owner(run, statement);
			return SnapshotTable::converted;
		}
		if (!renew)
			throw Error(
			    "55000",
			    "the primary key of the model of sync \"" + run.sync + "\" is another one than that of its snapshot",
			    {},
			    "Say what the destination holds: run the sync with resync => 'full' (send everything) or resync => "
			    "'baseline' (it is there already).");
		run_as_owner(run, "DROP TABLE " + snapshot_table(run.sync_id));
	} else if (run.former && !renew) {
		check_snapshot_table(run); // says that it is gone
	}
	run.former.reset();
	run.plan.former.reset();
	run.plan.former_lost = false;
	forget_former(run);
	make_snapshot(run);
	return SnapshotTable::made;
}

void check_snapshot_table(const RunDefinition &run) {
	if (!check_own_table(run, snapshot_table(run.sync_id)))
		throw Error("42P01",
		            "the snapshot of sync \"" + run.sync + "\" is gone: table " + snapshot_table(run.sync_id) +
		                " does not exist",
		            {}, "Run the sync with resync => 'baseline' or resync => 'full' to make it again.");
}

void forget_former(const RunDefinition &run) {
	UserContext context(run.as_owner({{"client_min_messages", "warning"}}));
	spi_execute("DROP TABLE IF EXISTS " + former_table(run.sync_id));
}

bool prepare_former(const RunDefinition &run) {
	if (run.plan.former && run.plan.former->match != format_of(run.plan).match)
		forget_former(run);
	if (!check_own_table(run, former_table(run.sync_id))) {
		run_as_owner(run, create_former(run.plan));
		return false;
	}
	UserContext context(run.as_owner());
	if (spi_execute("SELECT FROM " + former_table(run.sync_id) + " LIMIT 1").processed() == 0)
		return false;
	spi_execute(former_is_accepted(run.plan));
	return true;
}

} // namespace courier::pg
