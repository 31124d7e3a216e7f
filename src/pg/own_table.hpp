#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "pg/postgres.hpp"

extern "C" {
#include "access/relation.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"
}

// Tables of ours, read and written by their rows and not by SQL, where every microsecond counts: a run does it for each of
// its records. Nothing of a user runs here but the expressions of indexes he may have added, so they are written as him.
//
// Plain C: it lives under call_postgres, holds nothing that would have to be destroyed, and what it has open when an error
// comes is closed by the abort of the transaction.

namespace courier::pg {

struct OwnColumn {
	const char *name;
	Oid type;     // InvalidOid: any; it is filled in
	int at = -1;  // where it stands in a slot
};

// A key as bytes, which need no page and no memory context to live in.
struct alignas(8) KeyBytes {
	std::array<std::uint8_t, 16> bytes {};
};
// Nothing: it is of no fixed size, or larger. The Datum may look into the bytes.
std::optional<KeyBytes> key_bytes(Datum key, Form_pg_attribute column);
std::optional<Datum> key_datum(const KeyBytes &key, Form_pg_attribute column);

// A plain table in courier_data ("schema.table", as core/plan.hpp names it), of `owner`, with these columns. nullptr: it is not so.
// `alone`: and no others, nor constraints, defaults or triggers that writing without SQL would pass by.
Relation open_own_table(const char *name, Oid owner, LOCKMODE lock, OwnColumn *columns, int count, bool alone);

// Writes as COPY does: many rows at once into the table and the WAL, then into each index.
struct BulkInsert {
	static constexpr int at_once = 100;

	Relation relation;
	EState *estate;
	ResultRelInfo *result;
	TupleTableSlot *slots[at_once];
	int made, used;

	void open(Relation relation);
	// Cleared, to be filled with values that live until flush(); then stored().
	TupleTableSlot *next();
	void stored() { used++; }
	bool full() const { return used == at_once; }
	void flush();
	// Of a new version of a row, which is in the table already. Its column `key` (from 0) is what it was.
	void into_indexes(TupleTableSlot *slot, Indexes which, int key);
	void close();

private:
	void insert_into_indexes(TupleTableSlot *slot, Indexes which);
};

} // namespace courier::pg
