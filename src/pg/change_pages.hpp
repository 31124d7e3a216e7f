#pragma once

#include <functional>
#include <vector>

#include "core/record.hpp"
#include "pg/change_scan.hpp"
#include "pg/settlement.hpp"

namespace courier::pg {

// The changes of a run, read from its scratch in the order they were written, a bounded page at a time.
class ChangePages {
public:
	struct Blocks {
		std::uint32_t first = 0, end = 0;
	};
	// `parts`: asked for more blocks whenever those it gave are read, until it has none. Without it, the whole table.
	explicit ChangePages(const RunDefinition &run, std::function<std::optional<Blocks>()> parts = {});

	// nullopt: that was all. Notes what the settlement needs in `underway`. May open a transaction of its own.
	std::optional<Record> next(UnderwayRecords &underway);

private:
	bool read(UnderwayRecords &underway);
	std::optional<Blocks> more();
	bool read_rows(ChangeScan &scan, UnderwayRecords &underway);
	bool read_by_sql(UnderwayRecords &underway);
	void take(const ChangeRow &row, UnderwayRecords &underway);

	const RunDefinition &run_;
	std::vector<Record> records_; // of the page; given out up to next_
	std::size_t next_ = 0;
	std::function<std::optional<Blocks>()> parts_;
	bool whole_ = false;       // the whole table was asked for
	std::uint32_t end_ = 0;    // of the blocks that are being read
	std::uint32_t below_ = 0;  // those before this one were read, up to after_
	Tid after_ {};
};

std::uint32_t change_blocks(const RunDefinition &run); // how many there are. In a transaction, connected to SPI

ChangeRow row_of_page(const Rows &rows, std::size_t row); // of core/plan.hpp's page()
Record record_of(const RunDefinition &run, const ChangeRow &row); // as it is sent
Underway underway_of(const ChangeRow &row);

// For changed_fields_only: the members of `record` that are not in `accepted` or differ, and those named by `always`.
std::string changed_members(const std::string &record, const std::string &accepted,
                            const std::vector<std::string> &always);

} // namespace courier::pg
