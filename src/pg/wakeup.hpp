#pragma once

#include "pg/postgres.hpp"

extern "C" {
#include "access/xact.h"
}

// What a transaction asks to be woken when it is over.
namespace courier::pg::wakeup {

void request_run(int64 run_id); // a worker for this run
void announce();                // a scheduler for this database
bool was_asked(int64 run_id);   // by this transaction

// The transaction callback; registered once, by _PG_init.
void on_transaction(XactEvent event, void *);

} // namespace courier::pg::wakeup
