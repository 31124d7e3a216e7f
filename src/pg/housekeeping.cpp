#include "pg/housekeeping.hpp"

#include "pg/locks.hpp"
#include "pg/log_index.hpp"
#include "pg/run_queue.hpp"
#include "pg/settings.hpp"

extern "C" {
#include "storage/latch.h"
#include "utils/wait_event.h"
}

// The logs are partitioned by retention and day, so that retention drops tables instead of deleting rows. Rows of syncs
// without a retention of their own are kept for pg_courier.log_retention as it is at the time of dropping; others for what
// the sync's was when they were written, in minutes, which is a part of the partition's name.
//
// - A partition is made beside its parent and attached: that waits for nobody who reads the logs, whereas CREATE TABLE ...
//   PARTITION OF would wait for all of them, and everybody else behind it.
// - Dropping one needs the parent for a moment, so it is tried briefly and again a minute later.
// - Partitions are members of the extension, so that pg_dump leaves them out, and it has to be left before a drop.
// - Days are UTC days, in names and in bounds.

namespace courier::pg {

namespace {

constexpr int tries = 100;
constexpr long try_every_ms = 50;
constexpr int kept_runs = 100;

// What is there to make, for rows that are kept so many minutes: name and parent, bounds.
const std::string missing_partitions =
    "SELECT p.parent, n.name, pg_catalog.to_char(d.day, 'YYYY-MM-DD') || ' 00:00:00+00',"
    "       pg_catalog.to_char(d.day + 1, 'YYYY-MM-DD') || ' 00:00:00+00'"
    "  FROM (VALUES ('request'), ('request_key'), ('change_log')) p (parent),"
    "       (SELECT (pg_catalog.clock_timestamp() AT TIME ZONE 'UTC')::date + n"
    "          FROM pg_catalog.generate_series(0, 1) n) d (day),"
    "       LATERAL (SELECT p.parent || '_' || CASE WHEN $1 > 0 THEN $1 || 'min_' ELSE '' END ||"
    "                       pg_catalog.to_char(d.day, 'YYYYMMDD')) n (name)"
    " WHERE pg_catalog.to_regclass('courier_internal.' || n.name) IS NULL";

// Days that nobody may look at any more, given the server's retention in minutes.
const std::string old_partitions =
    "SELECT c.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent IN ('courier_internal.request'::regclass, 'courier_internal.request_key'::regclass,"
    "                       'courier_internal.change_log'::regclass)"
    "   AND c.relname ~ '_[0-9]{8}$'"
    "   AND pg_catalog.to_date(pg_catalog.right(c.relname, 8), 'YYYYMMDD') + 1 <="
    "       (pg_catalog.clock_timestamp() - COALESCE("
    "           pg_catalog.substring(c.relname, '_([0-9]+)min_[0-9]{8}$')::integer, $1) * interval '1 min')"
    "       AT TIME ZONE 'UTC'"
    " ORDER BY c.relname";

void make_partition(const Rows &rows, std::size_t row, int kept) {
	const std::string parent = "courier_internal." + quote_name(rows.text(row, 0));
	const std::string name = "courier_internal." + quote_name(rows.text(row, 1));
	// VACUUM makes the Bloom filters that searches by key need.
	const bool filtered = rows.text(row, 0) == "change_log";
	(void)spi_execute("CREATE TABLE " + name + " (LIKE " + parent + " INCLUDING DEFAULTS INCLUDING CONSTRAINTS)" +
	                  (filtered ? " WITH (autovacuum_vacuum_insert_threshold = 20000,"
	                              " autovacuum_vacuum_insert_scale_factor = 0.02)"
	                            : ""));
	const std::string of = " (" + std::to_string(kept) + ", ";
	(void)spi_execute("ALTER TABLE " + parent + " ATTACH PARTITION " + name + " FOR VALUES FROM" + of +
	                  quote_text(rows.text(row, 2)) + ") TO" + of + quote_text(rows.text(row, 3)) + ")");
	(void)spi_execute("ALTER EXTENSION pg_courier ADD TABLE " + name);
	// An empty table's index gets a filter for its first range, and each of the first rows would change it.
	if (filtered)
		(void)spi_execute("SELECT pg_catalog.brin_desummarize_range(i.indexrelid, 0) FROM pg_catalog.pg_index i"
		                  " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
		                  " JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.amname = 'brin'"
		                  " WHERE i.indrelid = $1::pg_catalog.regclass",
		                  name);
}

bool partitions_missing(int kept) {
	return in_extension_transaction(true, [&] { return !spi_execute(missing_partitions, kept).empty(); })
	    .value_or(false);
}

void make_partitions(int kept) {
	(void)in_extension_transaction(true, [&] {
		(void)spi_execute("SELECT pg_catalog.set_config('lock_timeout', '5s', true)");
		const Rows rows = spi_execute(missing_partitions, kept);
		for (std::size_t row = 0; row < rows.size(); row++)
			make_partition(rows, row, kept);
		return true;
	});
}

void drop_partition(const std::string &name) {
	(void)in_extension_transaction(false, [&] {
		(void)spi_execute("SELECT pg_catalog.set_config('lock_timeout', '200ms', true)");
		const std::string table = "courier_internal." + quote_name(name);
		const Rows member =
		    spi_execute("SELECT 1 FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid"
		                " WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = pg_catalog.to_regclass($1)"
		                "   AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'",
		                table);
		if (!member.empty())
			(void)spi_execute("ALTER EXTENSION pg_courier DROP TABLE " + table);
		(void)spi_execute("DROP TABLE IF EXISTS " + table);
		return true;
	});
}

template <class F> void isolated(const char *what, F work) {
	try {
		work();
	} catch (const Error &error) {
		if (error.sqlstate == "55P03") // somebody reads the logs: the next round tries again
			return;
		call_postgres([&] { ereport(LOG, (errmsg("pg_courier could not %s: %s", what, error.message.c_str()))); });
	}
}

void drop_old_partitions() {
	const auto old = in_extension_transaction(false, [] {
		const Rows rows = spi_execute(old_partitions, settings::log_retention);
		std::vector<std::string> names;
		for (std::size_t row = 0; row < rows.size(); row++)
			names.push_back(rows.get<std::string>(row, 0));
		return names;
	});
	for (const std::string &name : old.value_or(std::vector<std::string> {}))
		isolated("drop a partition of its logs", [&] { drop_partition(name); });
}

void complete_log_indexes() {
	for (const LogIndex &index : incomplete_log_indexes())
		isolated("complete an index of its logs", [&] { complete_log_index(index); });
}

void delete_old_budgets() {
	(void)in_extension_transaction(false, [] {
		return spi_execute("DELETE FROM courier_internal.destination_state WHERE budget <> '' AND GREATEST(free_at, "
		                   "blocked_until) < pg_catalog.clock_timestamp() - interval '1 hour'")
		    .processed();
	});
}

void delete_old_runs() {
	(void)in_extension_transaction(false, [] {
		return spi_execute(
		           "DELETE FROM courier_internal.run r USING courier_internal.sync s"
		           " CROSS JOIN LATERAL (SELECT k.run_id FROM courier_internal.run k WHERE k.sync_id = s.sync_id"
		           "                      ORDER BY k.run_id DESC OFFSET $2 LIMIT 1) newest"
		           " WHERE r.sync_id = s.sync_id AND r.run_id <= newest.run_id"
		           "   AND r.status NOT IN ('queued', 'querying', 'sending')"
		           "   AND r.finished_at < pg_catalog.clock_timestamp()"
		           "       - COALESCE((s.options->>'retention')::interval, $1 * interval '1 min')"
		           "   AND NOT EXISTS (SELECT FROM courier_internal.sync_state st WHERE st.sync_id = s.sync_id"
		           "                      AND r.run_id IN (st.last_run_id, st.blocked_run_id))",
		           settings::log_retention, kept_runs)
		    .processed();
	});
}

} // namespace

void ensure_partitions(int kept) {
	const LOCKTAG lock = locks::housekeeping();
	for (int i = 0; i < tries && partitions_missing(kept); i++) {
		if (locks::try_acquire(lock)) {
			try {
				make_partitions(kept);
			} catch (...) {
				locks::release(lock);
				throw;
			}
			locks::release(lock);
			return;
		}
		// Somebody else is at it.
		call_postgres([] {
			(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, try_every_ms, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		});
	}
}

void keep_house() {
	isolated("make the partitions of its logs", [] { ensure_partitions(); });
	isolated("find old partitions of its logs", [] { drop_old_partitions(); });
	isolated("find incomplete indexes of its logs", [] { complete_log_indexes(); });
	isolated("delete old rate budgets", [] { delete_old_budgets(); });
	isolated("delete old runs", [] { delete_old_runs(); });
	isolated("forget old alert events", [] {
		(void)in_extension_transaction(false, [] {
			return spi_execute("SELECT courier_internal.forget_alert_events($1 * interval '1 min')",
			                   settings::log_retention)
			    .processed();
		});
	});
	isolated("look at alerts", [] {
		(void)in_extension_transaction(false, [] {
			return !spi_execute(
			            "SELECT courier_internal.evaluate_alerts() WHERE EXISTS (SELECT FROM courier_internal.alert)")
			            .empty();
		});
	});
}

} // namespace courier::pg
