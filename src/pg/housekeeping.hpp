#pragma once

namespace courier::pg {

// Makes the partitions of the request log and the changelog for today and tomorrow (UTC), where they are missing, for rows
// that are kept so many minutes (see log_retention_minutes). Several processes may call it at once. Runs its own
// transactions: call it outside of one, before the first row is written and when the day changes.
void ensure_partitions(int kept = 0);

// The scheduler's round, once a minute: partitions, retention. One part that fails is logged and does not keep the others
// from being done.
void keep_house();

} // namespace courier::pg
