#pragma once

#include <functional>

#include "core/client.hpp"
#include "core/delivery.hpp"
#include "pg/comparison.hpp"
#include "pg/settlement.hpp"

namespace courier::pg {

struct SendResult {
	Totals totals;
	bool cancelled = false;
	std::optional<Failure> failure;
	std::uint64_t requests = 0;
};

// Sends what stands in the run's scratch and settles it. No transaction is open while a socket is; each page and each
// settlement is a transaction of its own. Outside a transaction.
SendResult send_changes(const RunDefinition &run, const OperationMap &operations, Client &client,
                        const Comparison &planned, std::uint64_t requests_before);

// Before a run compares: what became of the jobs that former runs left at the destination. Settles it.
SendResult ask_open_jobs(const RunDefinition &run, const OperationMap &operations, Client &client);

// The loop itself. `next` gives the records, in sending order, nullopt at the end; `write` settles outcomes and logs, at least
// every second. Both may open transactions. The totals of the result are the caller's.
SendResult deliver(const RunDefinition &run, const OperationMap &operations, Client &client,
                   const std::function<std::optional<Record>()> &next,
                   const std::function<void(std::vector<Settled>, std::vector<Exchange>, std::uint64_t)> &write);

} // namespace courier::pg
