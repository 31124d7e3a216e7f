#include "pg/change_scan.hpp"

extern "C" {
#include "access/nbtree.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/index.h"
#include "commands/defrem.h"
#include "mb/pg_wchar.h"
#include "storage/bufmgr.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

namespace courier::pg {

namespace {

bool is_null(TupleTableSlot *slot, const OwnColumn &column) {
	return slot->tts_isnull[column.at];
}

Datum value_of(TupleTableSlot *slot, const OwnColumn &column) {
	return slot->tts_values[column.at];
}

std::string_view bytes_of(Datum value) {
	struct varlena *plain = PG_DETOAST_DATUM_PACKED(value);
	return {VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain)};
}

std::string_view to_utf8(std::string_view bytes) {
	if (GetDatabaseEncoding() == PG_UTF8)
		return bytes;
	const char *converted = pg_server_to_any(bytes.data(), static_cast<int>(bytes.size()), PG_UTF8);
	return converted == bytes.data() ? bytes : std::string_view(converted);
}

std::string_view text(Datum value) {
	return to_utf8(bytes_of(value));
}

} // namespace

void refuse_altered_change() {
	throw Error("55000", "a change of this run was altered while the run was at work",
	            "Tables in schema courier_data belong to the owner of their sync, and pg_courier alone may write to them.",
	            "Run the sync again.");
}

char change_op(std::string_view text) {
	if (text != "a" && text != "c" && text != "r")
		refuse_altered_change();
	return text[0];
}

ChangeScan::ChangeScan(const RunDefinition &run, Tid after, Tid below)
    : run_(run), changes_name_(scratch_table(run.plan, "chg")), snapshot_name_(snapshot_table(run.sync_id)),
      change_ {{"k", InvalidOid}, {"at", TIDOID},  {"op", CHAROID}, {"phase", INT2OID}, {"former", BOOLOID},
               {"h", UUIDOID},    {"mh", UUIDOID}, {"mv", TEXTOID}, {"r", TEXTOID},     {"origin", INT8OID},
               {"key", TEXTOID},  {"pk", TEXTOID}, {"rec", TEXTOID}, {"size", INT4OID}},
      snapshot_ {{"k", InvalidOid}, {"mv", TEXTOID}, {"r", TEXTOID}, {"p", TEXTOID}} {
	call_postgres([&] { open(after, below); });
}

void ChangeScan::open(Tid after, Tid below) {
	Relation changes =
	    open_own_table(changes_name_.c_str(), run_.owner, AccessShareLock, change_, change_columns, false);
	if (!changes)
		return;
	if (!run_.plan.all_new) {
		snapshot_[sk].type = change_[k].type;
		accepted_ = open_own_table(snapshot_name_.c_str(), run_.owner, AccessShareLock, snapshot_, snapshot_columns, false);
		if (!accepted_ || !find_index()) {
			if (accepted_)
				table_close(accepted_, NoLock);
			table_close(changes, NoLock);
			return;
		}
		lookup_ = begin_index_scan(accepted_, index_, GetActiveSnapshot());
		accepted_slot_ = table_slot_create(accepted_, nullptr);
		blocks_ = RelationGetNumberOfBlocks(accepted_);
	}
	ItemPointerData first, last; // both belong to the range
	ItemPointerSet(&first, after.block, after.offset);
	ItemPointerInc(&first);
	ItemPointerSet(&last, below.block, below.offset);
	ItemPointerDec(&last);
	scan_ = table_beginscan_tidrange(changes, GetActiveSnapshot(), &first, &last);
	slot_ = table_slot_create(changes, nullptr);
	key_alone_ = run_.plan.key_form() == KeyForm::plain && !run_.plan.keep_payload;
	row_memory_ = AllocSetContextCreate(CurTransactionContext, "pg_courier change", ALLOCSET_DEFAULT_SIZES);
	changes_ = changes;
}

// The snapshot's primary key, if it is the one that we made: on k alone, by the type's own order.
bool ChangeScan::find_index() {
	Oid oid = primary_key_index(accepted_);
	if (!OidIsValid(oid))
		return false;
	index_ = index_open(oid, AccessShareLock);
	const Oid type = snapshot_[sk].type;
	const Oid operator_class = GetDefaultOpClass(type, BTREE_AM_OID);
	Oid equal = InvalidOid;
	if (index_->rd_rel->relam == BTREE_AM_OID && index_->rd_index->indnkeyatts == 1 &&
	    index_->rd_index->indkey.values[0] == snapshot_[sk].at + 1 && index_->rd_index->indisvalid &&
	    index_->rd_index->indimmediate && OidIsValid(operator_class) &&
	    index_->rd_opfamily[0] == get_opclass_family(operator_class))
		equal = get_opfamily_member(index_->rd_opfamily[0], type, type, BTEqualStrategyNumber);
	if (!OidIsValid(equal)) {
		index_close(index_, NoLock);
		return false;
	}
	ScanKeyInit(&lookup_key_, 1, BTEqualStrategyNumber, get_opcode(equal), (Datum)0);
	return true;
}

// What the snapshot has of the key. The comparison saw where it stands, and mostly it still stands there; what has moved since (the
// comparison itself may move rows, and the snapshot's owner may write to it) is found by its key.
void ChangeScan::find_accepted() {
	const Datum key = value_of(slot_, change_[k]);
	if (is_null(slot_, change_[k])) // a former match value that is still owed: no record is its
		ExecClearTuple(accepted_slot_);
	else if (is_null(slot_, change_[at]) || !stands_at((ItemPointer)DatumGetPointer(value_of(slot_, change_[at])), key))
		look_up(key);
}

bool ChangeScan::stands_at(ItemPointer place, Datum key) {
	if (ItemPointerGetBlockNumber(place) >= blocks_ ||
	    !table_tuple_fetch_row_version(accepted_, place, GetActiveSnapshot(), accepted_slot_))
		return false;
	slot_getallattrs(accepted_slot_);
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(accepted_), snapshot_[sk].at);
	return !is_null(accepted_slot_, snapshot_[sk]) &&
	       datumIsEqual(value_of(accepted_slot_, snapshot_[sk]), key, attribute->attbyval, attribute->attlen);
}

void ChangeScan::look_up(Datum key) {
	lookup_key_.sk_argument = key;
	index_rescan(lookup_, &lookup_key_, 1, nullptr, 0);
	if (index_getnext_slot(lookup_, ForwardScanDirection, accepted_slot_))
		slot_getallattrs(accepted_slot_);
	else
		ExecClearTuple(accepted_slot_);
}

bool ChangeScan::next(ChangeRow &row) {
	if (!call_postgres([&] { return fetch(row); }))
		return false;
	if (!row.whole || (change_op({&row.op, 1}) != 'r' && !row.hash))
		refuse_altered_change();
	return true;
}

bool ChangeScan::fetch(ChangeRow &row) {
	MemoryContextReset(row_memory_);
	do {
		if (!table_scan_getnextslot_tidrange(scan_, ForwardScanDirection, slot_))
			return false;
		slot_getallattrs(slot_);
	} while (DatumGetInt16(value_of(slot_, change_[phase])) >= 8); // not due yet
	row = ChangeRow {};
	for (int column : {op, key, pk, rec})
		row.whole = row.whole && !is_null(slot_, change_[column]);
	if (!row.whole)
		return true;
	if (accepted_)
		find_accepted(); // not in the row's memory: the index scan keeps what it allocates
	MemoryContext caller = MemoryContextSwitchTo(row_memory_);

	row.tid = {ItemPointerGetBlockNumber(&slot_->tts_tid), ItemPointerGetOffsetNumber(&slot_->tts_tid)};
	row.op = DatumGetChar(value_of(slot_, change_[op]));
	row.known_bad = DatumGetInt16(value_of(slot_, change_[phase])) == 1;
	row.former = DatumGetBool(value_of(slot_, change_[former]));
	if (!is_null(slot_, change_[h]))
		std::memcpy(row.hash.emplace().data(), DatumGetUUIDP(value_of(slot_, change_[h]))->data, UUID_LEN);
	row.origin = is_null(slot_, change_[origin]) ? run_.origin_run_id : DatumGetInt64(value_of(slot_, change_[origin]));
	row.size = DatumGetInt32(value_of(slot_, change_[size]));
	const std::string_view key_text = bytes_of(value_of(slot_, change_[key]));
	const std::string_view record_bytes = bytes_of(value_of(slot_, change_[rec]));
	row.key = to_utf8(key_text);
	row.key_json = text(value_of(slot_, change_[pk]));
	row.record = to_utf8(record_bytes);

	// The idempotency key, as in page().
	const UuidText hash = row.hash ? uuid_text(*row.hash) : UuidText {};
	const std::string_view parts[] = {run_.plan.seed, key_text, {&row.op, 1}, row.hash ? hash.view() : record_bytes};
	hash128_of_texts(parts, 4, row.origin, row.idempotency.data());

	const bool takes_away = row.former && row.op == 'r';
	if (accepted_) {
		row.in_snapshot = !TTS_EMPTY(accepted_slot_);
		if (row.in_snapshot) {
			const ItemPointer at = &accepted_slot_->tts_tid;
			row.snapshot_tid = {ItemPointerGetBlockNumber(at), ItemPointerGetOffsetNumber(at)};
			if (!is_null(accepted_slot_, snapshot_[sp]))
				row.payload = text(value_of(accepted_slot_, snapshot_[sp]));
			if (!takes_away && !is_null(accepted_slot_, snapshot_[smv]))
				row.match = text(value_of(accepted_slot_, snapshot_[smv]));
			if (!row.former && !is_null(accepted_slot_, snapshot_[sr]))
				row.remote_id = text(value_of(accepted_slot_, snapshot_[sr]));
		}
		// Those that it was planned with: the snapshot may be beyond them by now.
		if (takes_away && !is_null(slot_, change_[mv]))
			row.match = text(value_of(slot_, change_[mv]));
		if (row.former && !is_null(slot_, change_[r]))
			row.remote_id = text(value_of(slot_, change_[r]));
	}
	if (takes_away && !is_null(slot_, change_[mh]))
		std::memcpy(row.former_value.emplace().data(), DatumGetUUIDP(value_of(slot_, change_[mh]))->data, UUID_LEN);
	if (key_alone_ && !is_null(slot_, change_[k]) && is_null(slot_, change_[mh]) && is_null(slot_, change_[mv]))
		row.snapshot_key = key_bytes(value_of(slot_, change_[k]), TupleDescAttr(RelationGetDescr(changes_), change_[k].at));
	MemoryContextSwitchTo(caller);
	return true;
}

void ChangeScan::close() {
	call_postgres([&] {
		table_endscan(scan_);
		ExecDropSingleTupleTableSlot(slot_);
		if (accepted_) {
			index_endscan(lookup_);
			ExecDropSingleTupleTableSlot(accepted_slot_);
			index_close(index_, NoLock);
			table_close(accepted_, NoLock);
		}
		table_close(changes_, NoLock);
		MemoryContextDelete(row_memory_);
	});
}

} // namespace courier::pg
