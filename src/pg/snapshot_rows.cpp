#include "pg/snapshot_rows.hpp"

#include "pg/change_scan.hpp"
#include "pg/own_table.hpp"

extern "C" {
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "utils/datum.h"
#include "utils/snapmgr.h"
}

// Both tables are read by TID, the changes only where they have more to tell than what is known of them (AcceptedChange). A TID of the
// snapshot is as old as the page of its change, and somebody may have written there since (its owner may), so the row must be visible and
// have the change's key; else the caller does it by key.

namespace courier::pg {

namespace {

enum Column { k, h, s, mh, mv, p, r, t, first_key };

struct Tables {
	Relation changes, snapshot;
	const OwnColumn *change, *stored; // the same names in the same order, as far as chg has them
	int columns;
	bool keep_payload;
	IndexFetchTableData *same_page; // of changes
	TupleTableSlot *change_slot; // the change that is at hand: one of the next two
	TupleTableSlot *read_slot, *known_slot;
	TupleTableSlot *stored_slot, *new_slot;
	BlockNumber blocks;
	MemoryContext memory;
};

bool fetch(Relation relation, Tid tid, TupleTableSlot *slot) {
	ItemPointerData at;
	ItemPointerSet(&at, tid.block, tid.offset);
	if (!table_tuple_fetch_row_version(relation, &at, GetActiveSnapshot(), slot))
		return false;
	slot_getallattrs(slot);
	return true;
}

// A change. They come in the order of the table, and this way of reading keeps the page that it has; it does not find a row that an
// UPDATE has put there (mark_renamed).
bool read_change(Tables &tables, Tid tid) {
	ItemPointerData at;
	ItemPointerSet(&at, tid.block, tid.offset);
	bool more = false;
	tables.change_slot = tables.read_slot;
	if (!table_index_fetch_tuple(tables.same_page, &at, GetActiveSnapshot(), tables.change_slot, &more, nullptr))
		return fetch(tables.changes, tid, tables.change_slot);
	slot_getallattrs(tables.change_slot);
	return true;
}

// The change as it was when its page was read, without reading it again: a twentieth of what a record costs.
bool know_change(Tables &tables, const AcceptedChange &one) {
	const OwnColumn &key = tables.change[k], &hash = tables.change[h];
	if (!one.key || !one.hash)
		return false;
	const auto value = key_datum(*one.key, TupleDescAttr(RelationGetDescr(tables.changes), key.at));
	if (!value)
		return false;
	TupleTableSlot *slot = tables.change_slot = tables.known_slot;
	slot->tts_values[key.at] = *value;
	slot->tts_values[hash.at] = PointerGetDatum(one.hash->data());
	slot->tts_isnull[key.at] = slot->tts_isnull[hash.at] = false; // and all else is null
	return true;
}

// The row that the snapshot gets. `stored`: the one that it has.
void fill(const Tables &tables, TupleTableSlot *row, TupleTableSlot *stored) {
	auto take = [&](int column, TupleTableSlot *from, int at) {
		row->tts_values[tables.stored[column].at] = at < 0 ? (Datum)0 : from->tts_values[at];
		row->tts_isnull[tables.stored[column].at] = at < 0 || from->tts_isnull[at];
	};
	for (int column : {k, h, mh, mv})
		take(column, tables.change_slot, tables.change[column].at);
	for (int column = first_key; column < tables.columns; column++)
		take(column, tables.change_slot, tables.change[column].at);
	take(p, tables.change_slot, tables.keep_payload ? tables.change[p].at : -1);
	take(r, stored, stored ? tables.stored[r].at : -1);
	take(s, nullptr, -1);
	take(t, nullptr, -1);
	ExecStoreVirtualTuple(row);
}

// Rows are written without the table's constraints being looked at.
bool is_whole(const Tables &tables) {
	return !tables.change_slot->tts_isnull[tables.change[k].at] && !tables.change_slot->tts_isnull[tables.change[h].at];
}

bool same_key(const Tables &tables) {
	const OwnColumn &change = tables.change[k], &stored = tables.stored[k];
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(tables.snapshot), stored.at);
	return !tables.change_slot->tts_isnull[change.at] && !tables.stored_slot->tts_isnull[stored.at] &&
	       datumIsEqual(tables.change_slot->tts_values[change.at], tables.stored_slot->tts_values[stored.at],
	                    attribute->attbyval, attribute->attlen);
}

bool update(const Tables &tables, BulkInsert &insert, Tid tid) {
	if (tid.block >= tables.blocks || !fetch(tables.snapshot, tid, tables.stored_slot) || !same_key(tables))
		return false;
	ItemPointerData at = tables.stored_slot->tts_tid;
	fill(tables, ExecClearTuple(tables.new_slot), tables.stored_slot);
	Indexes which = Indexes::none;
	bool done = update_row(tables.snapshot, &at, tables.new_slot, GetActiveSnapshot(), which);
	if (done && which != Indexes::none)
		insert.into_indexes(tables.new_slot, which, tables.stored[k].at);
	return done;
}

// Values of new rows point into the page of their change, which the next change may let go: they are copied. Those of a change that is known
// live with the caller.
void keep(const Tables &tables, TupleTableSlot *row) {
	TupleDesc descriptor = RelationGetDescr(tables.snapshot);
	for (int at = 0; at < descriptor->natts; at++) {
		Form_pg_attribute attribute = TupleDescAttr(descriptor, at);
		if (!row->tts_isnull[at] && !attribute->attbyval)
			row->tts_values[at] = datumCopy(row->tts_values[at], false, attribute->attlen);
	}
}

} // namespace

std::vector<Tid> move_snapshot_rows(const RunDefinition &run, const std::vector<AcceptedChange> &accepted) {
	const std::string changes_name = scratch_table(run.plan, "chg"), snapshot_name = snapshot_table(run.sync_id);
	std::vector<OwnColumn> stored {{"k", InvalidOid}, {"h", UUIDOID}, {"s", CHAROID}, {"mh", UUIDOID},
	                               {"mv", TEXTOID},   {"p", TEXTOID}, {"r", TEXTOID}, {"t", TIMESTAMPTZOID}};
	std::vector<std::string> keys;
	if (run.plan.key_form() == KeyForm::folded)
		for (std::size_t i = 1; i <= run.plan.key.size(); i++)
			keys.push_back("k" + std::to_string(i));
	for (auto &name : keys)
		stored.push_back({name.c_str(), InvalidOid});
	std::vector<OwnColumn> change = stored;
	change[s] = {"op", CHAROID}; // chg has no such columns; these it has
	change[t] = {"size", INT4OID};
	change[p] = {"rec", TEXTOID};

	std::vector<Tid> left;
	bool altered = false;
	left.reserve(accepted.size()); // nothing is allocated below
	Tables tables {};
	BulkInsert insert;
	MemoryContext caller = CurrentMemoryContext;
	call_postgres([&] {
		tables.memory = AllocSetContextCreate(CurTransactionContext, "pg_courier snapshot", ALLOCSET_DEFAULT_SIZES);
		MemoryContext rows = AllocSetContextCreate(tables.memory, "rows", ALLOCSET_DEFAULT_SIZES);
		MemoryContextSwitchTo(tables.memory);
		int columns = static_cast<int>(stored.size());
		tables.snapshot =
		    open_own_table(snapshot_name.c_str(), run.owner, RowExclusiveLock, stored.data(), columns, true);
		for (int i = first_key; i < columns; i++)
			change[i].type = stored[i].type;
		change[k].type = stored[k].type;
		tables.changes =
		    open_own_table(changes_name.c_str(), run.owner, AccessShareLock, change.data(), columns, false);
		if (tables.snapshot && tables.changes) {
			tables.change = change.data();
			tables.stored = stored.data();
			tables.columns = columns;
			tables.keep_payload = run.plan.keep_payload;
			tables.same_page = table_index_fetch_begin(tables.changes);
			tables.read_slot = table_slot_create(tables.changes, nullptr);
			tables.known_slot = MakeSingleTupleTableSlot(RelationGetDescr(tables.changes), &TTSOpsVirtual);
			ExecStoreAllNullTuple(tables.known_slot);
			tables.stored_slot = table_slot_create(tables.snapshot, nullptr);
			tables.new_slot = table_slot_create(tables.snapshot, nullptr);
			tables.blocks = RelationGetNumberOfBlocks(tables.snapshot);
			insert.open(tables.snapshot);
			for (auto &one : accepted) {
				if (!know_change(tables, one) && !read_change(tables, one.change)) {
					altered = true;
					break;
				}
				if (!is_whole(tables)) { // SQL says what is wrong with it
					left.push_back(one.change);
				} else if (!one.snapshot) {
					TupleTableSlot *row = insert.next();
					fill(tables, row, nullptr);
					MemoryContextSwitchTo(rows);
					if (tables.change_slot == tables.read_slot)
						keep(tables, row);
					insert.stored();
					if (insert.full()) {
						insert.flush();
						MemoryContextReset(rows);
					}
					MemoryContextSwitchTo(tables.memory);
				} else {
					MemoryContextSwitchTo(rows);
					bool done = update(tables, insert, *one.snapshot);
					MemoryContextSwitchTo(tables.memory);
					if (!done)
						left.push_back(one.change);
				}
			}
			insert.flush();
			insert.close();
			CommandCounterIncrement();
			table_index_fetch_end(tables.same_page);
			for (auto *slot : {tables.read_slot, tables.known_slot, tables.stored_slot, tables.new_slot})
				ExecDropSingleTupleTableSlot(slot);
		} else {
			for (auto &one : accepted)
				left.push_back(one.change);
		}
		if (tables.changes)
			table_close(tables.changes, NoLock);
		if (tables.snapshot)
			table_close(tables.snapshot, NoLock);
		MemoryContextSwitchTo(caller);
		MemoryContextDelete(tables.memory);
	});
	if (altered)
		refuse_altered_change();
	return left;
}

} // namespace courier::pg
