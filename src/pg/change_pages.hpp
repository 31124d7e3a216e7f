#pragma once

#include <deque>

#include "core/record.hpp"
#include "pg/change_scan.hpp"
#include "pg/settlement.hpp"

namespace courier::pg {

// The changes of a run, read from its scratch in the order they were written, a bounded page at a time.
class ChangePages {
public:
	explicit ChangePages(const RunDefinition &run);

	// nullopt: that was all. Notes what the settlement needs in `underway`. May open a transaction of its own.
	std::optional<Record> next(UnderwayRecords &underway);

private:
	struct Item {
		Record record;
		Underway underway;
	};

	bool read();
	bool read_rows(ChangeScan &scan);
	bool read_by_sql();
	void take(const ChangeRow &row);

	const RunDefinition &run_;
	std::deque<Item> items_;
	std::uint32_t blocks_ = 0; // of the scratch table
	std::uint32_t below_ = 0;  // blocks before this one were read, up to after_
	Tid after_ {};
	bool counted_ = false;
};

ChangeRow row_of_page(const Rows &rows, std::size_t row); // of core/plan.hpp's page()
Record record_of(const RunDefinition &run, const ChangeRow &row); // as it is sent
Underway underway_of(const ChangeRow &row);

// For changed_fields_only: the members of `record` that are not in `accepted` or differ, and those named by `always`.
std::string changed_members(const std::string &record, const std::string &accepted,
                            const std::vector<std::string> &always);

} // namespace courier::pg
