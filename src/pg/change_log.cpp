#include "pg/change_log.hpp"

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
constexpr int changed_at = 10;
constexpr int at_once = 500;

// Holds no C++ object that would have to be destroyed: it runs under call_postgres.
struct Target {
	Relation relation;
	EState *estate;
	ResultRelInfo *result;
	TupleTableSlot **slots;
	int used;
};

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

void flush(Target &target) {
	if (target.used == 0)
		return;
	table_multi_insert(target.relation, target.slots, target.used, GetCurrentCommandId(true), 0, nullptr);
	for (int i = 0; i < target.used; i++) {
		List *recheck = insert_index_tuples(target.result, target.slots[i], target.estate);
		list_free(recheck);
		ExecClearTuple(target.slots[i]);
		ResetPerTupleExprContext(target.estate);
	}
	target.used = 0;
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
	Target target {};
	TimestampTz now = 0;
	call_postgres([&] {
		context.statement = AllocSetContextCreate(CurrentMemoryContext, "pg_courier change log", ALLOCSET_DEFAULT_SIZES);
		context.batch = AllocSetContextCreate(context.statement, "rows", ALLOCSET_DEFAULT_SIZES);
		MemoryContextSwitchTo(context.statement);
		now = GetCurrentTimestamp();
		target.relation = open_partition(now, kept);
		target.estate = CreateExecutorState();
		target.result = makeNode(ResultRelInfo);
		InitResultRelInfo(target.result, target.relation, 1, nullptr, 0);
		ExecOpenIndices(target.result, false);
		target.slots = static_cast<TupleTableSlot **>(palloc(at_once * sizeof(TupleTableSlot *)));
		for (int i = 0; i < at_once && static_cast<std::size_t>(i) < rows.size(); i++)
			target.slots[i] = table_slot_create(target.relation, nullptr);
	});
	auto row = rows.begin();
	while (row != rows.end()) {
		call_postgres([&] {
			MemoryContextSwitchTo(context.batch);
			for (; row != rows.end() && target.used < at_once; ++row) {
				TupleTableSlot *slot = ExecClearTuple(target.slots[target.used]);
				Param values[columns] = {run_id,
				                         sync_id,
				                         row->key,
				                         row->primary_key, // json: the same bytes as text, and we wrote them
				                         row->change,
				                         row->outcome,
				                         row->http_status ? Param(row->http_status) : Param::null(INT4OID),
				                         row->error_code,
				                         row->message,
				                         row->payload,
				                         Param::null(TIMESTAMPTZOID), // now
				                         kept};
				for (int i = 0; i < columns; i++) {
					slot->tts_isnull[i] = values[i].is_null();
					slot->tts_values[i] = values[i].is_null() ? (Datum)0 : values[i].make();
				}
				slot->tts_values[changed_at] = TimestampTzGetDatum(now);
				slot->tts_isnull[changed_at] = false;
				ExecStoreVirtualTuple(slot);
				target.used++;
			}
			flush(target);
			MemoryContextReset(context.batch);
		});
	}
	call_postgres([&] {
		MemoryContextSwitchTo(context.statement);
		for (int i = 0; i < at_once && static_cast<std::size_t>(i) < rows.size(); i++)
			ExecDropSingleTupleTableSlot(target.slots[i]);
		ExecCloseIndices(target.result);
		FreeExecutorState(target.estate);
		table_close(target.relation, NoLock);
	});
}

} // namespace courier::pg
