#pragma once

#include <string>

#include "pg/guard.hpp"

namespace courier::pg {

// Something a worker does while the caller waits, apart from the caller's transaction: a test of a destination, or of one
// record. The request travels in a segment of dynamic shared memory, the answer comes back in it. Both are JSON.
//
// Errors: 53000 no free worker slot; 57014 no answer in time; otherwise what the worker raised.
std::string run_errand(const std::string &request, long timeout_ms);

// The worker's side (errand_worker.cpp): the answer to a request, in a worker of the caller's database, outside a transaction.
std::string answer_errand(const std::string &request);

} // namespace courier::pg

extern "C" {
PGDLLEXPORT void courier_errand_main(Datum segment);
}
