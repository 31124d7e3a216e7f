#pragma once

#include <string>
#include <vector>

#include "pg/postgres.hpp"

namespace courier::pg {

struct LogIndex {
	std::string partition; // of the change log, with its schema
	Oid index = InvalidOid;
};

// Those of days that are over, and that were not completed yet. In a transaction of its own.
std::vector<LogIndex> incomplete_log_indexes();

// Gives every range of the partition its summary. Error 55P03 where VACUUM is at work on it. In a transaction of its own.
void complete_log_index(const LogIndex &index);

} // namespace courier::pg
