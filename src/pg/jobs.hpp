#pragma once

#include <vector>

#include "core/delivery.hpp"
#include "pg/settlement.hpp"

namespace courier::pg {

// Jobs that the destination works on: courier_internal.job says which and how far, courier_data.jobs_<sync> (of the
// sync's owner, like the snapshot) has their records. Both are logged tables.
class TableJobStore final : public JobStore {
public:
	TableJobStore(const RunDefinition &run, const UnderwayRecords &underway) : run_(run), underway_(underway) {}

	std::int64_t open(Operation operation, std::span<const Record> batch, const std::string &state) override;
	void update(std::int64_t job, const std::string &state) override;
	void close(std::int64_t job) override { closed_.push_back(job); }
	void abandon(std::int64_t job) override { abandoned_.push_back(job); }

	bool pending() const { return !closed_.empty() || !abandoned_.empty(); }
	// In the transaction that settles their records, connected to SPI.
	void write_ends();
	void forget_ends(); // it is committed

private:
	const RunDefinition &run_;
	const UnderwayRecords &underway_;
	std::vector<std::int64_t> closed_, abandoned_;
	bool table_is_there_ = false;
};

struct OpenJob {
	std::int64_t job = 0;
	Operation operation = Operation::upsert;
	std::string state;
};

// What former runs of the sync left open, oldest first. Outside a transaction. A table without jobs is dropped.
std::vector<OpenJob> open_jobs(const RunDefinition &run);
// The records of one, in the order of its batch; what the settlement needs goes to `underway`. In a transaction of its
// own.
std::vector<Record> records_of_job(const RunDefinition &run, std::int64_t job, UnderwayRecords &underway);
// The sync sends or forgets everything anyway.
void forget_jobs(const RunDefinition &run);
// At the end of a run, in its last transaction: no table is left where no job is.
void drop_idle_jobs_table(const RunDefinition &run);

} // namespace courier::pg
