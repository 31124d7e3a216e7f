#pragma once

#include "core/delivery.hpp"
#include "pg/run_definition.hpp"
#include "pg/spi.hpp"
#include "pg/underway.hpp"

namespace courier::pg {

// Writes outcomes: the snapshot moves (as the owner), rejected records, logs and counters follow, in one short transaction.
class TableJobStore;

class Settlement {
public:
	// `held`: where the changes of the records stand, in the run's scratch or in the table of jobs. By a job: of a former run; what is aborted then is nobody's outcome, because it
	// is compared again, and what is settled counts as planned.
	Settlement(const RunDefinition &run, TableJobStore &jobs, Held held) : run_(run), jobs_(jobs), held_(held) {}

	// Takes the records out of `underway`.
	void settle(std::vector<Settled> settled, std::vector<Exchange> exchanges, UnderwayRecords &underway,
	            std::uint64_t requests);
	// Rejected records and the log alone; in the caller's transaction. For outcomes whose snapshot has moved already.
	void write_records(const std::vector<Settled> &settled, const UnderwayRecords &underway);
	// So many added, changed and removed records that all had this outcome; likewise.
	void count_all(Outcome outcome, const std::int64_t (&counts)[3], std::uint64_t requests);

private:
	void write(const std::vector<Settled> &settled, const std::vector<Exchange> &exchanges,
	           const UnderwayRecords &underway, std::uint64_t requests);
	std::int64_t move_snapshot(const std::vector<Settled> &settled, const UnderwayRecords &underway); // by how many records it grew
	void write_rejected(const std::vector<Settled> &settled, const UnderwayRecords &underway);
	void write_changes(const std::vector<Settled> &settled, const UnderwayRecords &underway);
	void write_requests(const std::vector<Exchange> &exchanges);
	void write_counters(const std::vector<Settled> &settled, const UnderwayRecords &underway, std::uint64_t requests);

	struct Counts {
		std::int64_t succeeded[3] = {0, 0, 0}, rejected[3] = {0, 0, 0}, skipped = 0, unknown = 0, aborted = 0;
		void add(Outcome outcome, int change, std::int64_t records);
	};
	void write_counts(const Counts &counts, std::uint64_t requests);

	const RunDefinition &run_;
	TableJobStore &jobs_;
	Held held_;
	bool one_by_one_ = false; // the snapshot is not as it was when pages were read
	std::uint64_t counted_requests_ = 0; // the run's row has so many of this process
};

// What the run did not get to. When all that work on it have settled; in a transaction of its own.
void abort_rest(std::int64_t run_id);

// How many records the snapshot has: counted in the transaction that moves it, so that no end of a run, and no crash, loses count.
void count_snapshot(int sync_id, std::int64_t change);

// Text that PostgreSQL takes: valid UTF-8 without NUL, at most `most` bytes.
std::string storable(std::string_view text, std::size_t most = 64 << 10);

} // namespace courier::pg
