#pragma once

#include <functional>

#include "core/delivery.hpp"
#include "pg/change_pages.hpp"

extern "C" {
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
}

namespace courier::pg {

struct TeamMemory;

// The workers of one run, when there are several: the leader, which is the run worker, and its helpers. What they say
// to each other is in shared memory of the run; see run_team.cpp. Everything here is called outside of transactions but
// for next_part().
class Team {
public:
	enum class Stop { none, cancelled, failed, leader_gone, helper_gone };

	// In the leader. `plan`: text for the helpers. nullptr: there is no shared memory to be had.
	static std::unique_ptr<Team> lead(const RunDefinition &run, int workers, std::int64_t changes, std::uint32_t blocks,
	                                  const std::string &plan);
	// In a helper. nullptr: the leader has gone.
	static std::unique_ptr<Team> attach(dsm_handle handle, int member);
	~Team();
	Team(const Team &) = delete;
	Team &operator=(const Team &) = delete;

	bool leads() const { return member_ == 0; }
	std::string plan() const;
	std::int64_t run_id() const;
	int sync_id() const;
	int leader_pid() const;
	std::int64_t changes() const;

	// A helper is ready; false: it is not wanted any more. Then it waits in here for its share of the concurrency.
	std::optional<std::size_t> join();

	std::optional<ChangePages::Blocks> next_part();
	// The reader met a removal, or the end: this worker will not be given additions any more.
	void no_more_additions() { read_additions_ = true; }
	// At every turn of the loop: lets `delivery` begin with removals; the leader starts helpers. Once, when somebody
	// has stopped: how. Then this worker has to stop too.
	Stop turn(Delivery &delivery);
	// The run ends, for all. The first one is the reason.
	void stop(Stop how, const Failure &why, bool in_doubt = false);
	// A helper's last word: it has settled all and holds no lock.
	void leave();

	// In the leader, when it is done with its own: until all have left. `look`: every second, true to cancel.
	void wait_for_all(const std::function<bool()> &look);
	struct End {
		Stop how = Stop::none;
		Failure why;
		bool in_doubt = false; // an error of ours, perhaps while requests were under way
	};
	End end() const;

private:
	Team(dsm_segment *segment, int member);

	void start_helpers(std::size_t concurrency);
	void look_after_helpers(Delivery &delivery);
	void look_at_processes();
	bool all_left() const;
	bool may_remove() const;
	void wake_others() const;

	dsm_segment *segment_;
	TeamMemory *memory_;
	int member_;
	bool read_additions_ = false, told_additions_ = false, told_to_stop_ = false;
	int asked_ = 0;         // helpers; 0: not yet
	std::size_t total_ = 0; // concurrency of the run
	bool tried_ = false;
	std::vector<BackgroundWorkerHandle *> handles_; // of helpers 1, 2, ...
};

} // namespace courier::pg
