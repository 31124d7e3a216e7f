#include "pg/change_log.hpp"

#include "pg/own_table.hpp"

extern "C" {
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

// The change log gets a row for every record of every run, so it is written the way COPY writes: many rows at once into the
// partition of the day and retention, then its indexes. An INSERT ... SELECT from arrays costs three times as much: each text is copied into an
// array, out of it, into a tuplestore and into a row, and each row is put into the table and the WAL by itself.
//
// The partition is known by its name (housekeeping.cpp makes them), so no row has to look for it; it holds because name and time
// are made of the same timestamp.

namespace courier::pg {

namespace {

constexpr int columns = 12;

Relation open_partition(TimestampTz now, int kept) {
	struct pg_tm day;
	fsec_t fraction;
	if (timestamp2tm(now, nullptr, &day, &fraction, nullptr, nullptr) != 0) // of a timestamp without zone: UTC
		elog(ERROR, "the clock is out of range");
	char name[NAMEDATALEN];
	if (kept > 0)
		pg_snprintf(name, sizeof name, "change_log_%dmin_%04d%02d%02d", kept, day.tm_year, day.tm_mon, day.tm_mday);
	else
		pg_snprintf(name, sizeof name, "change_log_%04d%02d%02d", day.tm_year, day.tm_mon, day.tm_mday);
	Oid oid = get_relname_relid(name, get_namespace_oid("courier_internal", false));
	if (!OidIsValid(oid))
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_TABLE), errmsg("the change log has no partition for today"),
		        errdetail("courier_internal.%s does not exist.", name));
	Relation relation = table_open(oid, RowExclusiveLock);
	if (RelationGetDescr(relation)->natts != columns || !relation->rd_rel->relispartition)
		elog(ERROR, "%s is not a partition of the change log", name);
	return relation;
}

Datum to_datum(std::string_view text) {
	return Param(text).make();
}

template <class Text> void text_or_null(const std::optional<Text> &text, Datum &value, bool &null) {
	null = !text;
	value = text ? to_datum(*text) : (Datum)0;
}

} // namespace

void write_change_log(std::int64_t run_id, int sync_id, int kept, const std::vector<ChangeLogRow> &rows) {
	struct Context {
		MemoryContext statement = nullptr, batch = nullptr, caller = CurrentMemoryContext;
		~Context() {
			MemoryContextSwitchTo(caller);
			if (statement)
				MemoryContextDelete(statement);
		}
	} context;
	BulkInsert insert;
	TimestampTz now = 0;
	call_postgres([&] {
		context.statement = AllocSetContextCreate(CurrentMemoryContext, "pg_courier change log", ALLOCSET_DEFAULT_SIZES);
		context.batch = AllocSetContextCreate(context.statement, "rows", ALLOCSET_DEFAULT_SIZES);
		MemoryContextSwitchTo(context.statement);
		now = GetCurrentTimestamp();
		insert.open(open_partition(now, kept));
	});
	auto row = rows.begin();
	while (row != rows.end()) {
		call_postgres([&] {
			for (; row != rows.end() && !insert.full(); ++row) {
				MemoryContextSwitchTo(context.statement);
				TupleTableSlot *slot = insert.next();
				MemoryContextSwitchTo(context.batch);
				Datum *values = slot->tts_values;
				bool *nulls = slot->tts_isnull;
				std::memset(nulls, 0, columns * sizeof(bool));
				values[0] = Int64GetDatum(run_id);
				values[1] = Int32GetDatum(sync_id);
				values[2] = to_datum(row->key);
				values[3] = to_datum(row->primary_key); // json: the same bytes as text, and we wrote them
				values[4] = to_datum(row->change);
				values[5] = to_datum(row->outcome);
				values[6] = Int32GetDatum(row->http_status);
				nulls[6] = row->http_status == 0;
				text_or_null(row->error_code, values[7], nulls[7]);
				text_or_null(row->message, values[8], nulls[8]);
				text_or_null(row->payload, values[9], nulls[9]);
				values[10] = TimestampTzGetDatum(now);
				values[11] = Int32GetDatum(kept);
				ExecStoreVirtualTuple(slot);
				insert.stored();
			}
			insert.flush();
			MemoryContextReset(context.batch);
		});
	}
	call_postgres([&] {
		MemoryContextSwitchTo(context.statement);
		insert.close();
		table_close(insert.relation, NoLock);
	});
}

} // namespace courier::pg
