#include "pg/own_table.hpp"

extern "C" {
#include "access/brin.h"
#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am_d.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
}

namespace courier::pg {

namespace {

bool has_columns(TupleDesc descriptor, OwnColumn *columns, int count, bool alone) {
	if (alone && descriptor->natts != count)
		return false;
	for (int i = 0; i < count; i++) {
		OwnColumn &column = columns[i];
		column.at = -1;
		for (int at = 0; at < descriptor->natts && column.at < 0; at++) {
			Form_pg_attribute attribute = TupleDescAttr(descriptor, at);
			if (!attribute->attisdropped && std::strcmp(NameStr(attribute->attname), column.name) == 0 &&
			    (!OidIsValid(column.type) || column.type == attribute->atttypid)) {
				column.at = at;
				column.type = attribute->atttypid;
			}
		}
		if (column.at < 0)
			return false;
	}
	return true;
}

bool is_simple(Relation relation) {
	const TupleConstr *constraints = relation->rd_att->constr;
	return !relation->rd_rel->relhastriggers && !relation->rd_rel->relhasrules && !relation->rd_rel->relrowsecurity &&
	       (!constraints || (constraints->num_check == 0 && constraints->num_defval == 0));
}

} // namespace

std::optional<KeyBytes> key_bytes(Datum key, Form_pg_attribute column) {
	KeyBytes out;
	static_assert(sizeof key <= sizeof out.bytes);
	if (column->attbyval)
		std::memcpy(out.bytes.data(), &key, sizeof key);
	else if (column->attlen > 0 && static_cast<std::size_t>(column->attlen) <= sizeof out.bytes)
		std::memcpy(out.bytes.data(), DatumGetPointer(key), static_cast<std::size_t>(column->attlen));
	else
		return std::nullopt;
	return out;
}

std::optional<Datum> key_datum(const KeyBytes &key, Form_pg_attribute column) {
	Datum out = PointerGetDatum(key.bytes.data());
	if (column->attbyval)
		std::memcpy(&out, key.bytes.data(), sizeof out);
	else if (column->attlen <= 0 || static_cast<std::size_t>(column->attlen) > sizeof key.bytes)
		return std::nullopt;
	return out;
}

Relation open_own_table(const char *name, Oid owner, LOCKMODE lock, OwnColumn *columns, int count, bool alone) {
	const char *dot = std::strchr(name, '.');
	RangeVar *wanted = makeRangeVar(pnstrdup(name, dot - name), pstrdup(dot + 1), -1);
	Relation relation = relation_openrv_extended(wanted, lock, true);
	if (!relation)
		return nullptr;
	if (relation->rd_rel->relkind == RELKIND_RELATION && relation->rd_rel->relowner == owner &&
	    has_columns(RelationGetDescr(relation), columns, count, alone) && (!alone || is_simple(relation)))
		return relation;
	relation_close(relation, lock);
	return nullptr;
}

void BulkInsert::open(Relation into) {
	relation = into;
	made = used = 0;
	estate = CreateExecutorState();
	result = makeNode(ResultRelInfo);
	InitResultRelInfo(result, relation, 1, nullptr, 0);
	ExecOpenIndices(result, false);
}

TupleTableSlot *BulkInsert::next() {
	if (used == made)
		slots[made++] = table_slot_create(relation, nullptr);
	return ExecClearTuple(slots[used]);
}

namespace {

bool is_of_key_alone(const IndexInfo *index, int key) {
	return index->ii_NumIndexAttrs == 1 && index->ii_IndexAttrNumbers[0] == key + 1 && !index->ii_Predicate && index->ii_ReadyForInserts;
}

} // namespace

// A key that was unique and has not changed is unique: nobody can have entered it beside the version that there was. The index
// need not look for copies of it, which is a fifth of what entering it costs.
void BulkInsert::into_indexes(TupleTableSlot *slot, Indexes which, int key) {
	if (which == Indexes::all && result->ri_NumIndices == 1 && is_of_key_alone(result->ri_IndexRelationInfo[0], key)) {
		bool null = false;
		Datum value = slot_getattr(slot, key + 1, &null); // the update has made another tuple of it
		(void)index_insert(result->ri_IndexRelationDescs[0], &value, &null, &slot->tts_tid, relation, UNIQUE_CHECK_NO, true,
		                   result->ri_IndexRelationInfo[0]);
	} else {
		insert_into_indexes(slot, which);
	}
}

void BulkInsert::insert_into_indexes(TupleTableSlot *slot, Indexes which) {
	list_free(insert_index_tuples(result, slot, estate, which));
	ResetPerTupleExprContext(estate);
}

namespace {

Relation only_brin(const ResultRelInfo *result) {
	Relation index = result->ri_NumIndices == 1 ? result->ri_IndexRelationDescs[0] : nullptr;
	return index && index->rd_rel->relam == BRIN_AM_OID && !BrinGetAutoSummarize(index) ? index : nullptr;
}

} // namespace

// A BRIN index wants to know of a row only where it has a summary of its range: who summarizes the range later sees the row. It looks for
// itself at every row, a twentieth of what a record costs. All the rows are in the table here, so once a range does as well.
void BulkInsert::flush() {
	if (used == 0)
		return;
	table_multi_insert(relation, slots, used, GetCurrentCommandId(true), 0, nullptr);
	Relation brin = only_brin(result);
	BlockNumber first = 0, below = 0; // blocks that it has no summary of
	for (int i = 0; i < used; i++) {
		const BlockNumber block = ItemPointerGetBlockNumber(&slots[i]->tts_tid);
		if (brin && (block < first || block >= below)) {
			BlockNumber end = 0;
			const bool summarized = brin_summary(brin, block, end) != BrinSummary::none;
			first = summarized ? 0 : block;
			below = summarized ? 0 : end;
		}
		if (block < first || block >= below)
			insert_into_indexes(slots[i], Indexes::all);
		ExecClearTuple(slots[i]);
	}
	used = 0;
}

void BulkInsert::close() {
	for (int i = 0; i < made; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	ExecCloseIndices(result);
	FreeExecutorState(estate);
}

} // namespace courier::pg
