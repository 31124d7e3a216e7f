#pragma once

#include <functional>

#include "core/client.hpp"
#include "core/delivery.hpp"
#include "pg/comparison.hpp"
#include "pg/settlement.hpp"

namespace courier::pg {

class Team;

struct SendResult {
	bool cancelled = false;
	std::optional<Failure> failure;
	bool interrupted = false; // a helper died
};

// Sends what stands in the run's scratch and settles it. No transaction is open while a socket is; each page and each
// settlement is a transaction of its own. Outside a transaction.
SendResult send_changes(const RunDefinition &run, const OperationMap &operations, Client &client,
                        const Comparison &planned);
// In a helper of that worker: its part of it. It has left the team when this returns.
void help_to_send(const RunDefinition &run, const OperationMap &operations, Client &client, Team &team,
                  std::size_t concurrency);

// Before a run compares: what became of the jobs that former runs left at the destination. Settles it.
SendResult ask_open_jobs(const RunDefinition &run, const OperationMap &operations, Client &client);

// The loop itself. `next` gives the records, in sending order, nullopt at the end; `write` settles outcomes and logs, at least
// every second. Both may open transactions.
SendResult deliver(const RunDefinition &run, const OperationMap &operations, Client &client,
                   const std::function<std::optional<Record>()> &next,
                   const std::function<void(std::vector<Settled>, std::vector<Exchange>, std::uint64_t)> &write);

} // namespace courier::pg
