#pragma once

// Every difference between server versions (15 to 18). No other file may test PG_VERSION_NUM.

#if PG_VERSION_NUM < 150000
#error "pg_courier needs PostgreSQL 15 or later"
#endif

extern "C" {
#include "access/brin_revmap.h"
#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "common/base64.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "postmaster/bgworker.h"
#include "storage/bufmgr.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/relcache.h"
#include "utils/wait_event.h"
}

namespace courier::pg {

// The transaction's number in this backend: tells two transactions of one session apart.
inline LocalTransactionId local_transaction_id() {
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

// Bytes written, or -1.
inline int encode_base64(const char *source, int length, char *out, int room) {
#if PG_VERSION_NUM >= 180000
	return pg_b64_encode(reinterpret_cast<const uint8 *>(source), length, out, room);
#else
	return pg_b64_encode(source, length, out, room);
#endif
}

// Tree walkers. Up to 15 the callback is declared without parameters, which C++ takes at its word.
using TreeWalker = bool (*)(Node *node, void *context);

inline bool walk_expression(Node *node, TreeWalker walker, void *context) {
#if PG_VERSION_NUM >= 160000
	return expression_tree_walker(node, walker, context);
#else
	return expression_tree_walker(node, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)), context);
#endif
}

inline bool walk_query(Query *query, TreeWalker walker, void *context) {
#if PG_VERSION_NUM >= 160000
	return query_tree_walker(query, walker, context, 0);
#else
	return query_tree_walker(query, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)), context, 0);
#endif
}

inline bool walk_raw(Node *node, TreeWalker walker, void *context) {
#if PG_VERSION_NUM >= 160000
	return raw_expression_tree_walker(node, walker, context);
#else
	return raw_expression_tree_walker(node, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)),
	                                  context);
#endif
}

// Which indexes must be told of a row that is in the table: of an update in place (HOT) none, or, from 16 on, those that summarize. The others
// lead to the row already, and a second entry would break them.
enum class Indexes { none, summarizing, all };

// An update too is said to be none: without a range table the server could not look up which columns it touched.
inline List *insert_index_tuples(ResultRelInfo *result, TupleTableSlot *slot, EState *estate, Indexes which) {
#if PG_VERSION_NUM >= 160000
	return ExecInsertIndexTuples(result, slot, estate, false, false, nullptr, NIL, which == Indexes::summarizing);
#else
	(void)which;
	return ExecInsertIndexTuples(result, slot, estate, false, false, nullptr, NIL);
#endif
}

// A new version of a row. False: somebody else has changed it. `which`: the indexes that must be told.
inline bool update_row(Relation relation, ItemPointer row, TupleTableSlot *slot, Snapshot snapshot, Indexes &which) {
	TM_FailureData failure;
	LockTupleMode mode;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes indexes = TU_None;
#else
	bool indexes = false;
#endif
	const TM_Result result = table_tuple_update(relation, row, slot, GetCurrentCommandId(true), snapshot,
	                                            InvalidSnapshot, true, &failure, &mode, &indexes);
#if PG_VERSION_NUM >= 160000
	which = indexes == TU_All           ? Indexes::all
	        : indexes == TU_Summarizing ? Indexes::summarizing
	                                    : Indexes::none;
#else
	which = indexes ? Indexes::all : Indexes::none;
#endif
	return result == TM_Ok;
}

// What a BRIN index has of the range of `block`, which ends before block `below`. A placeholder: somebody is about to summarize it.
enum class BrinSummary { none, placeholder, whole };

inline BrinSummary brin_summary(Relation index, BlockNumber block, BlockNumber &below) {
	BlockNumber pages = 0;
	Buffer buffer = InvalidBuffer;
	OffsetNumber at = InvalidOffsetNumber;
#if PG_VERSION_NUM >= 170000
	BrinRevmap *map = brinRevmapInitialize(index, &pages);
	const BrinTuple *summary = brinGetTupleForHeapBlock(map, block, &buffer, &at, nullptr, BUFFER_LOCK_SHARE);
#else
	BrinRevmap *map = brinRevmapInitialize(index, &pages, nullptr);
	const BrinTuple *summary = brinGetTupleForHeapBlock(map, block, &buffer, &at, nullptr, BUFFER_LOCK_SHARE, nullptr);
#endif
	BrinSummary found = BrinSummary::none;
	if (summary != nullptr) {
		found = BrinTupleIsPlaceholder(summary) ? BrinSummary::placeholder : BrinSummary::whole;
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	}
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
	brinRevmapTerminate(map);
	below = (block / pages + 1) * pages;
	return found;
}

inline IndexScanDesc begin_index_scan(Relation relation, Relation index, Snapshot snapshot) {
#if PG_VERSION_NUM >= 180000
	return index_beginscan(relation, index, snapshot, nullptr, 1, 0);
#else
	return index_beginscan(relation, index, snapshot, 1, 0);
#endif
}

inline bool in_background_worker() {
#if PG_VERSION_NUM >= 170000
	return AmBackgroundWorkerProcess();
#else
	return IsBackgroundWorker;
#endif
}

// The index of the primary key, if there is one and it is not deferrable.
inline Oid primary_key_index(Relation relation) {
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(relation, false);
#else
	return RelationGetPrimaryKeyIndex(relation);
#endif
}

// Not freed at the end of a transaction.
inline WaitEventSet *create_wait_event_set(int events) {
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(nullptr, events);
#else
	return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

// The wait event that tells an idle run worker. Up to 16 all waits of extensions are shown as "Extension", whatever their number.
inline uint32 idle_wait_event() {
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew("PgCourierIdle");
#else
	return PG_WAIT_EXTENSION | 0x00C0571EU;
#endif
}

} // namespace courier::pg

#if PG_VERSION_NUM >= 170000
#define COURIER_LOCK_HELD_BY_ME(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define COURIER_LOCK_HELD_BY_ME(tag, mode) LockHeldByMe(tag, mode)
#endif

#if PG_VERSION_NUM >= 160000
#define COURIER_OWNS_DATABASE(database, role) object_ownercheck(DatabaseRelationId, database, role)
#else
#define COURIER_OWNS_DATABASE(database, role) pg_database_ownercheck(database, role)
#endif
