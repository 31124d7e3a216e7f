#pragma once

#include <string>

namespace courier::pg {

// Whether reading the relation is reading one table of this database from end to end, so that reading it twice is cheap: a
// table, partitioned table or materialized view, or a view that selects from one without joins, aggregates, sorting, sub-selects
// or volatile functions. relation: quoted, qualified; one that does not exist is none. In a transaction, connected to SPI.
bool is_plain_scan(const std::string &relation);

} // namespace courier::pg
