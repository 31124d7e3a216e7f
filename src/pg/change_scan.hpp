#pragma once

#include "pg/hash128.hpp"
#include "pg/own_table.hpp"
#include "pg/run_definition.hpp"
#include "pg/spi.hpp"

extern "C" {
#include "access/genam.h"
#include "access/tableam.h"
#include "utils/uuid.h"
}

namespace courier::pg {

// One change as it stands in the scratch of a run, with what the snapshot has of its key. Texts are UTF-8, and valid until the next one.
struct ChangeRow {
	Tid tid;
	char op = 0;
	bool known_bad = false, former = false, whole = true; // not whole: a text is missing, and all else is not set
	std::optional<UuidBytes> hash; // none: a removal
	std::int64_t origin = 0;
	std::string_view key, key_json, record;
	UuidBytes idempotency {};
	std::string_view match;                       // the values that were accepted last, or that the change takes away
	std::string_view remote_id;
	std::optional<std::string_view> payload; // that was accepted last
	std::optional<UuidBytes> former_value;
	std::optional<KeyBytes> snapshot_key; // see Underway
	bool in_snapshot = false;
	Tid snapshot_tid;
	std::int64_t size = 0;
};

// Scratch belongs to the sync's owner, who may write to it. What such a change lacks must not be read.
[[noreturn]] void refuse_altered_change();
char change_op(std::string_view text); // a, c or r, or it is refused

// Reads them between two TIDs without SQL. What page() (core/plan_send.cpp) does for jobs and previews costs three times as much, most of it for
// the sum of sizes over a window, for texts that are copied into tuples and out of them, and for the join.
//
//     ChangeScan scan(run, after, below);     in a transaction; reads nothing where ready() is false: the tables are not as
//     while (scan.next(row)) use(row);        they were made, and SQL has to say what is wrong
//     scan.close();                           not after an error: the abort of the transaction does it
class ChangeScan {
public:
	ChangeScan(const RunDefinition &run, Tid after, Tid below);
	ChangeScan(const ChangeScan &) = delete;

	bool ready() const { return changes_ != nullptr; }
	bool next(ChangeRow &row);
	void close();

private:
	enum ChangeColumn { k, at, op, phase, former, h, mh, mv, r, origin, key, pk, rec, size, change_columns };
	enum SnapshotColumn { sk, smv, sr, sp, snapshot_columns };

	void open(Tid after, Tid below);
	bool find_index();
	bool fetch(ChangeRow &row);
	void find_accepted();
	bool stands_at(ItemPointer place, Datum key);
	void look_up(Datum key);

	const RunDefinition &run_;
	std::string changes_name_, snapshot_name_;
	OwnColumn change_[change_columns];
	OwnColumn snapshot_[snapshot_columns];
	bool key_alone_ = false; // a row of the snapshot may be no more than key and hash
	Relation changes_ = nullptr, accepted_ = nullptr, index_ = nullptr;
	TableScanDesc scan_ = nullptr;
	IndexScanDesc lookup_ = nullptr;
	ScanKeyData lookup_key_ {};
	BlockNumber blocks_ = 0; // of the snapshot
	TupleTableSlot *slot_ = nullptr, *accepted_slot_ = nullptr;
	MemoryContext row_memory_ = nullptr;
};

} // namespace courier::pg
