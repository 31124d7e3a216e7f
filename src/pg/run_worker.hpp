#pragma once

#include <chrono>
#include <memory>

#include "core/client.hpp"
#include "core/delivery.hpp"
#include "pg/run_definition.hpp"
#include "pg/run_queue.hpp"

namespace courier::pg {

using system_clock_point = std::chrono::system_clock::time_point;

// Reads secrets, makes the client and decides which operation serves which change; completes the plan with it. In a
// transaction, connected to SPI, after complete_plan.
std::unique_ptr<Client> open_client(RunDefinition &run, OperationMap &operations);

// Does a claimed run to its end, whatever that is. Outside a transaction.
void execute_run(const Claim &claim);

// For pg_stat_activity.
void report_activity(std::string_view phase, std::string_view sync);

} // namespace courier::pg
