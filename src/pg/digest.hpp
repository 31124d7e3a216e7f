#pragma once

#include "pg/send.hpp"

namespace courier::pg {

// One request for all changes of a run (the sync's config messages.digest).
//
// To Delivery it is a record like any other, so retries, waits, credentials, the breaker and cancel are what they always
// are. The difference is at both ends: the record is made from counts and samples, and its outcome is the outcome of every
// change in the run's scratch.
//
// The snapshot moves by statements over ranges of that table, at most so many blocks in a transaction. A death between two
// of them leaves the rest unsettled, and the next run tells of the rest in a digest of its own: that is what "not yet
// settled" means for records, too.

// In a transaction, connected to SPI.
Record digest_record(const RunDefinition &run, const Comparison &planned);

// As send_changes.
SendResult send_digest(const RunDefinition &run, const OperationMap &operations, Client &client,
                       const Comparison &planned);

} // namespace courier::pg
