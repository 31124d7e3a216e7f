#pragma once

#include "pg/spi.hpp"

namespace courier::pg {

// One row of courier_internal.change_log. It looks at the caller's texts.
struct ChangeLogRow {
	std::string_view key, primary_key, change, outcome;
	int http_status = 0;                                // 0: none
	std::optional<std::string> error_code, message;
	std::optional<std::string_view> payload;
};

// Writes them in the present transaction, with the present time. `kept`: the sync's retention, see log_retention_minutes.
void write_change_log(std::int64_t run_id, int sync_id, int kept, const std::vector<ChangeLogRow> &rows);

} // namespace courier::pg
