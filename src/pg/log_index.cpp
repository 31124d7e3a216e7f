#include "pg/log_index.hpp"

#include "pg/run_queue.hpp"
#include "pg/spi.hpp"

extern "C" {
#include "access/genam.h"
#include "access/table.h"
#include "catalog/index.h"
#include "storage/bufmgr.h"
}

// A BRIN index has a summary of each range of pages. Whoever makes one (VACUUM) puts a placeholder there first. If he
// is cancelled, as an autovacuum is that stands in somebody's way, or dies, it stays: VACUUM takes it for a summary. A
// look-up must read that range then, and reads all that come after it as well, because the server forgets to take a
// flag back (bringetbitmap, at least up to 18): 20 to 75 ms in a day of 330,000 rows, where it needs less than 1.
//
// So when a day is over and nothing is written to its partition any more, every range gets its summary here, once. A
// comment on the partition says that it has been done. Under the lock that summarizing takes, a placeholder is
// nobody's.

namespace courier::pg {

std::vector<LogIndex> incomplete_log_indexes() {
	const auto found = in_extension_transaction(false, [] {
		const Rows rows = spi_execute(
		    "SELECT pg_catalog.format('courier_internal.%I', c.relname), x.oid::pg_catalog.int8"
		    "  FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid"
		    "  JOIN pg_catalog.pg_index i ON i.indrelid = c.oid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid"
		    "  JOIN pg_catalog.pg_am a ON a.oid = x.relam AND a.amname = 'brin'"
		    " WHERE h.inhparent = 'courier_internal.change_log'::pg_catalog.regclass"
		    "   AND pg_catalog.obj_description(c.oid, 'pg_class') IS NULL"
		    "   AND pg_catalog.substring(pg_catalog.pg_get_expr(c.relpartbound, c.oid), $$TO \\([0-9]+, '([^']+)'\\)$$)::timestamptz"
		    "       < pg_catalog.clock_timestamp() - interval '1 hour'"
		    " ORDER BY c.relname");
		std::vector<LogIndex> indexes;
		for (std::size_t row = 0; row < rows.size(); row++)
			indexes.push_back({rows.get<std::string>(row, 0), static_cast<Oid>(rows.get<std::int64_t>(row, 1))});
		return indexes;
	});
	return found.value_or(std::vector<LogIndex> {});
}

namespace {

std::vector<std::int64_t> placeholders(Oid oid) {
	std::vector<std::int64_t> blocks;
	for (BlockNumber block = 0, end = 0, below = 0;; block = below) {
		const BrinSummary summary = call_postgres([&] {
			Relation index = index_open(oid, AccessShareLock);
			Relation table = table_open(index->rd_index->indrelid, AccessShareLock);
			end = RelationGetNumberOfBlocks(table);
			BrinSummary found = BrinSummary::none;
			while (block < end && (found = brin_summary(index, block, below)) != BrinSummary::placeholder)
				block = below;
			table_close(table, NoLock);
			index_close(index, NoLock);
			return found;
		});
		if (block >= end)
			return blocks;
		if (summary == BrinSummary::placeholder)
			blocks.push_back(block);
	}
}

} // namespace

void complete_log_index(const LogIndex &index) {
	(void)in_extension_transaction(false, [&] {
		(void)spi_execute("LOCK TABLE " + index.partition + " IN SHARE UPDATE EXCLUSIVE MODE NOWAIT");
		for (const std::int64_t block : placeholders(index.index))
			(void)spi_execute("SELECT pg_catalog.brin_desummarize_range($1::pg_catalog.regclass, $2)", ObjectId {index.index}, block);
		(void)spi_execute("SELECT pg_catalog.brin_summarize_new_values($1::pg_catalog.regclass)", ObjectId {index.index});
		(void)spi_execute("COMMENT ON TABLE " + index.partition + " IS 'The log of a day that is over. Its index is complete'");
		return true;
	});
}

} // namespace courier::pg
