#pragma once

#include "pg/run_definition.hpp"

// The table that holds what a destination has accepted, from its making to the check before each use.
namespace courier::pg {

enum class SnapshotTable { kept, converted, made };

// Makes the snapshot table, or makes it anew when the model's primary key is another one. What it did is to be noted.
SnapshotTable ensure_snapshot(RunDefinition &run);

// Just the table, empty.
void make_snapshot(const RunDefinition &run);

// Says in courier_internal what was done to the table: which one it is now, and that it is empty if it was made.
void note_snapshot(const RunDefinition &run, SnapshotTable done);

// A plain table of the sync's owner, without triggers, rules, row security and children. It must exist.
bool is_plain_table(const RunDefinition &run, const std::string &table);

// The same of the snapshot, as an error with words.
void check_snapshot_table(const RunDefinition &run);

// Whether what the snapshot was made with and the model now have keys of the same types.
bool same_key_types(const PlanFormat &former, const Plan &plan);

// Beside it stand the match values that it has given up. They go with it.
void forget_former(const RunDefinition &run);

// True: there are former match values to be removed. Those of other match fields cannot be compared with today's.
bool prepare_former(const RunDefinition &run);

} // namespace courier::pg
