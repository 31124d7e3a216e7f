#pragma once

#include <string>

#include "core/plan.hpp"

namespace courier {

// Keys of which the destination may hold something else than the snapshot says: a change or removal of them was on its
// way and its outcome was never known. Were the snapshot's hash left alone, a row that goes back to the accepted value
// would look as if nothing had to be sent, and the destination would keep the value that was on its way. So the hash is
// forgotten: the next comparison differs whatever the row is. The row itself stays, with its identifiers, so that a
// removal still finds its record.
//
// Additions are not marked. Nobody knows whether they arrived, and what the snapshot does not hold is never deleted.

// Makes run_<run>_doubt (k, h): what this run may change or remove. It outlives a crash, unlike chg; the run that follows
// an interrupted one reads it, and a run that comes to its end drops it.
std::string note_in_doubt(const Plan &plan);
// `table` is that of the interrupted run. What it had settled is not in doubt.
std::string mark_in_doubt(const Plan &plan, const std::string &table);
std::string settle_in_doubt(const Plan &plan, Held held); // $1 tid[]

} // namespace courier
