#pragma once

#include "pg/run_definition.hpp"
#include "pg/snapshot_table.hpp"
#include "pg/spi.hpp"

namespace courier::pg {

// What comparing the model with the snapshot found.
struct Comparison {
	std::int64_t rows = 0, invalid = 0, held_removals = 0;
	std::int64_t added = 0, changed = 0, removed = 0;
	std::int64_t snapshot_change = 0; // keys that entered or left the snapshot without a request
	bool null_keys = false;
	std::optional<std::int64_t> records; // of the snapshot, where they were counted on the way
	SnapshotTable table = SnapshotTable::kept;
	std::optional<Error> blocked; // max_removed, max_changes: nothing may be sent; message and hint say why
};

// Makes the scratch tables of the run and fills them; the snapshot changes only where nothing has to be sent for it. In one
// REPEATABLE READ transaction of the caller's, connected to SPI, with the rights of the extension's owner; SQL over the
// model runs as the sync's owner. When the result is blocked the caller must roll back. No row of courier_internal is written.
Comparison compare_model(RunDefinition &run);

// The snapshot becomes the model, nothing is sent. Same conditions.
Comparison take_baseline(RunDefinition &run);

// What was found, in courier_internal: in the same transaction, which has become READ COMMITTED. Its rows are others' too: while a
// model was read for minutes, its sync may have been paused or altered, and slots of its schedule have passed.
void store_comparison(const RunDefinition &run, const Comparison &found);

// Scratch that earlier runs of this sync left behind when they were killed: (name, run_id, whether it is what they left in doubt).
Rows scratch_of_earlier_runs(const RunDefinition &run);

// in_doubt: what was on its way may have no outcome, so what the run wanted to change stays noted for the next one.
void drop_scratch(const RunDefinition &run, bool in_doubt);

} // namespace courier::pg
