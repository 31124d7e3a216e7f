#include "pg/run_team.hpp"

#include "pg/fault.hpp"
#include "pg/run_queue.hpp"
#include "pg/settlement.hpp"
#include "pg/workers.hpp"

extern "C" {
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/wait_event.h"
}

// Several workers for one run
//
// The leader is the run worker as ever: it holds the lease, compares, begins to send, and ends the run. Once the
// destination has shown that it takes records, it starts helpers, and all of them take parts of the changes, ranges of
// blocks of the scratch table, one after the other from a counter. Each has a Delivery of its own with its share of the
// concurrency, and settles its own records (settlement.cpp). Whatever ends the run for one ends it for all.
//
// What they say to each other is in a segment of shared memory that lives as long as the run is being sent. It is no
// state: when a helper dies, the run is interrupted, like when the leader dies, and the run that follows compares
// again. What is in the snapshot is not sent again, so a death costs what was in flight or not yet settled, and nothing
// has to be known of the parts. A table of parts would have to be written, cleaned up and understood after a crash, to
// know less.
//
// Additions before removals. Removals are the last rows of the scratch table, and parts are given in its order. So a
// worker that meets a removal in its part knows that all parts with additions have been given to somebody. It says that
// it has none any more when its own additions have their outcomes, and keeps its removals in the batcher until all say
// so. Whoever joins later gets later parts, which have removals alone; it says that it may have additions before it
// takes the first.
//
// Concurrency. The sum of what all may have under way is the sync's. The leader begins with all of it, lowers its own
// share when it starts helpers, and gives each helper its share once it has no more requests under way itself than are
// left to it. It takes back the shares of those that have left.
//
// Races, and what is done about them
//
// - The leader dies. Its lease is free at once, and the next run of the sync could compare while helpers still settle.
//   A helper shares the lock locks::helpers from before it looks at the run's row until after its last settlement;
//   whoever claims the next run, or ends this one as interrupted, takes that lock alone first (run_queue.cpp). Helpers
//   learn of the death by the segment (a dying process runs on_dsm_detach), stop sending, give the answers that are on
//   their way three seconds, settle and leave. That is more than to drop what they know: the run says `sending` still,
//   so its numbers are right, and acknowledged records are not sent again.
// - A helper begins after the leader's death. The lock is taken first and the run's row is looked at afterwards: if
//   somebody has claimed meanwhile, the run has ended.
// - A helper dies. The postmaster tells the leader, which finds that it did not say that it left. The leader stops
//   everybody, waits for those that live, and ends the run as interrupted, with all that was not settled in doubt.
// - The server has a new library, and the leader the old one: the segment begins with the version.

namespace courier::pg {

namespace {

constexpr int most_workers = 16;
constexpr std::uint32_t parts_each = 8;
constexpr std::uint32_t largest_part = 64; // blocks

enum Stage : std::uint32_t { absent, asked, joined, left };

struct Words {
	char code[64], message[3000], hint[1500];
	bool has_time, in_doubt;
	std::int64_t not_before; // microseconds
};

struct Member {
	pg_atomic_uint32 stage;
	pg_atomic_uint32 share;     // of the concurrency; 0: it has to wait
	pg_atomic_uint32 additions; // it has some without an outcome, or may be given some
	pg_atomic_uint64 rejected;
	pg_atomic_uint32 pid;
	Words words; // of the one who stopped
};

void write(char *out, std::size_t size, const std::string &text) {
	strlcpy(out, storable(text, size - 4).c_str(), size);
}

void wake(std::uint32_t pid) {
	if (pid == 0 || static_cast<int>(pid) == MyProcPid)
		return;
	if (PGPROC *proc = BackendPidGetProc(static_cast<int>(pid)))
		SetLatch(&proc->procLatch);
}

std::string version() {
	return std::string(library_version()) + " " + std::to_string(PG_VERSION_NUM);
}

} // namespace

struct TeamMemory {
	char version[64];
	std::int64_t run_id, changes;
	int sync_id;
	std::uint32_t blocks, part_blocks;
	pg_atomic_uint32 next_part;
	pg_atomic_uint32 stop; // Team::Stop, and above it whose
	Member members[most_workers];
	std::size_t plan_bytes;
	char plan[FLEXIBLE_ARRAY_MEMBER];
};

namespace {

std::uint64_t count_parts(const TeamMemory &memory) {
	return (std::uint64_t {memory.blocks} + memory.part_blocks - 1) / memory.part_blocks;
}

bool set_stop(TeamMemory *memory, Team::Stop how, int member) {
	std::uint32_t none = 0;
	const auto what = static_cast<std::uint32_t>(how) | static_cast<std::uint32_t>(member) << 8;
	return pg_atomic_compare_exchange_u32(&memory->stop, &none, what);
}

void wake_all(TeamMemory *memory) {
	for (auto &one : memory->members)
		if (pg_atomic_read_u32(&one.stage) != left)
			wake(pg_atomic_read_u32(&one.pid));
}

// In the leader, when it ends, however it does.
void on_leader_gone(dsm_segment *, Datum argument) {
	auto *memory = reinterpret_cast<TeamMemory *>(DatumGetPointer(argument));
	(void)set_stop(memory, Team::Stop::leader_gone, 0);
	wake_all(memory);
}

} // namespace

Team::Team(dsm_segment *segment, int member)
    : segment_(segment), memory_(static_cast<TeamMemory *>(dsm_segment_address(segment))), member_(member) {
}

std::unique_ptr<Team> Team::lead(const RunDefinition &run, int workers, std::int64_t changes, std::uint32_t blocks,
                                 const std::string &plan) {
	const std::size_t size = offsetof(TeamMemory, plan) + plan.size();
	dsm_segment *segment = call_postgres([size] {
		dsm_segment *made = dsm_create(size, DSM_CREATE_NULL_IF_MAXSEGMENTS);
		if (made)
			dsm_pin_mapping(made);
		return made;
	});
	if (!segment)
		return nullptr;
	std::unique_ptr<Team> team(new Team(segment, 0));
	TeamMemory *memory = team->memory_;
	std::memset(memory, 0, offsetof(TeamMemory, plan));
	write(memory->version, sizeof memory->version, version());
	memory->run_id = run.run_id;
	memory->sync_id = run.sync_id;
	memory->changes = changes;
	memory->blocks = blocks;
	const std::uint32_t parts = static_cast<std::uint32_t>(workers) * parts_each;
	memory->part_blocks = std::clamp<std::uint32_t>(blocks / parts, 1, largest_part);
	pg_atomic_init_u32(&memory->next_part, 0);
	pg_atomic_init_u32(&memory->stop, 0);
	for (int i = 0; i < most_workers; i++) {
		Member &one = memory->members[i];
		pg_atomic_init_u32(&one.stage, i == 0 ? joined : i < workers ? asked : absent);
		pg_atomic_init_u32(&one.share, 0);
		pg_atomic_init_u32(&one.additions, i == 0 ? 1 : 0);
		pg_atomic_init_u64(&one.rejected, 0);
		pg_atomic_init_u32(&one.pid, i == 0 ? static_cast<std::uint32_t>(MyProcPid) : 0);
	}
	memory->plan_bytes = plan.size();
	std::memcpy(memory->plan, plan.data(), plan.size());
	team->asked_ = workers - 1;
	call_postgres([&] { on_dsm_detach(segment, on_leader_gone, PointerGetDatum(memory)); });
	return team;
}

std::unique_ptr<Team> Team::attach(dsm_handle handle, int member) {
	dsm_segment *segment = call_postgres([handle] {
		dsm_segment *found = dsm_attach(handle);
		if (found)
			dsm_pin_mapping(found);
		return found;
	});
	if (!segment)
		return nullptr;
	std::unique_ptr<Team> team(new Team(segment, member));
	return team->memory_->version == version() ? std::move(team) : nullptr;
}

Team::~Team() {
	for (auto *handle : handles_)
		if (handle)
			pfree(handle);
	dsm_detach(segment_); // raises no error
}

std::string Team::plan() const {
	return {memory_->plan, memory_->plan_bytes};
}

std::int64_t Team::run_id() const {
	return memory_->run_id;
}

int Team::sync_id() const {
	return memory_->sync_id;
}

int Team::leader_pid() const {
	return static_cast<int>(pg_atomic_read_u32(&memory_->members[0].pid));
}

std::int64_t Team::changes() const {
	return memory_->changes;
}

std::optional<std::size_t> Team::join() {
	Member &me = memory_->members[member_];
	pg_atomic_write_u32(&me.pid, static_cast<std::uint32_t>(MyProcPid));
	pg_atomic_write_u32(&me.additions, 1);
	pg_memory_barrier();
	pg_atomic_write_u32(&me.stage, joined);
	wake(static_cast<std::uint32_t>(leader_pid()));
	for (;;) {
		if (pg_atomic_read_u32(&memory_->stop) != 0)
			return std::nullopt;
		if (const auto share = pg_atomic_read_u32(&me.share); share > 0)
			return share;
		call_postgres([] {
			(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, 0, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		});
	}
}

std::optional<ChangePages::Blocks> Team::next_part() {
	const std::uint64_t parts = count_parts(*memory_);
	if (pg_atomic_read_u32(&memory_->next_part) >= parts)
		return std::nullopt;
	const std::uint64_t part = pg_atomic_fetch_add_u32(&memory_->next_part, 1); // each worker goes beyond the end once
	if (part >= parts)
		return std::nullopt;
	const auto first = static_cast<std::uint32_t>(part * memory_->part_blocks);
	return ChangePages::Blocks {first, std::min(first + memory_->part_blocks, memory_->blocks)};
}

void Team::wake_others() const {
	wake_all(memory_);
}

bool Team::may_remove() const {
	for (auto &one : memory_->members)
		if (pg_atomic_read_u32(&one.stage) == joined && pg_atomic_read_u32(&one.additions) != 0)
			return false;
	return true;
}

Team::Stop Team::turn(Delivery &delivery) {
	Member &me = memory_->members[member_];
	if (read_additions_ && !told_additions_ && !delivery.has_additions()) {
		told_additions_ = true;
		pg_atomic_write_u32(&me.additions, 0);
		pg_memory_barrier();
		wake_others();
	}
	if (told_additions_ && may_remove())
		delivery.allow_removals();

	if (const auto mine = delivery.rejected(); mine > 0) {
		pg_atomic_write_u64(&me.rejected, mine);
		std::uint64_t others = 0;
		for (auto &one : memory_->members)
			others += &one == &me ? 0 : pg_atomic_read_u64(&one.rejected);
		delivery.rejected_elsewhere(others);
	}
	if (const auto &failure = delivery.failure(); failure && !told_to_stop_)
		stop(Stop::failed, *failure);
	if (leads())
		look_after_helpers(delivery);
	if (told_to_stop_ || pg_atomic_read_u32(&memory_->stop) == 0)
		return Stop::none;
	told_to_stop_ = true;
	return end().how;
}

void Team::stop(Stop how, const Failure &why, bool in_doubt) {
	Words &words = memory_->members[member_].words;
	if (pg_atomic_read_u32(&memory_->stop) == 0) {
		write(words.code, sizeof words.code, why.code);
		write(words.message, sizeof words.message, why.message);
		write(words.hint, sizeof words.hint, why.hint);
		words.in_doubt = in_doubt;
		words.has_time = why.not_before.has_value();
		if (why.not_before)
			words.not_before =
			    std::chrono::duration_cast<std::chrono::microseconds>(why.not_before->time_since_epoch()).count();
		pg_memory_barrier();
	}
	(void)set_stop(memory_, how, member_);
	told_to_stop_ = true;
	wake_others();
}

Team::End Team::end() const {
	const auto value = pg_atomic_read_u32(&memory_->stop);
	pg_memory_barrier();
	End out;
	out.how = static_cast<Stop>(value & 0xff);
	const Words &words = memory_->members[value >> 8].words;
	switch (out.how) {
	case Stop::none:
		break;
	case Stop::cancelled:
		out.why.code = "cancelled";
		break;
	case Stop::leader_gone:
	case Stop::helper_gone:
		out.why.code = "interrupted";
		out.why.message = "a process that worked on the run ended before the run did";
		break;
	case Stop::failed:
		out.why = {words.code, words.message, words.hint, std::nullopt};
		if (words.has_time)
			out.why.not_before = std::chrono::system_clock::time_point(std::chrono::microseconds(words.not_before));
		out.in_doubt = words.in_doubt;
		break;
	}
	return out;
}

void Team::leave() {
	Member &me = memory_->members[member_];
	pg_atomic_write_u32(&me.additions, 0);
	pg_memory_barrier();
	pg_atomic_write_u32(&me.stage, left);
	wake_others();
}

void Team::start_helpers(std::size_t concurrency) {
	tried_ = true;
	total_ = concurrency;
	const bool more = pg_atomic_read_u32(&memory_->next_part) < count_parts(*memory_);
	const int wanted =
	    !more ? 0 : std::min<int>(asked_, static_cast<int>(std::min<std::size_t>(concurrency, most_workers)) - 1);
	for (int i = 1; i <= wanted; i++) {
		BackgroundWorkerHandle *handle = start_run_helper({MyDatabaseId, dsm_segment_handle(segment_), i});
		if (!handle)
			break; // the leader does what there is to do
		handles_.push_back(handle);
	}
	for (int i = static_cast<int>(handles_.size()) + 1; i < most_workers; i++)
		pg_atomic_write_u32(&memory_->members[i].stage, absent);
}

// Those that have ended and did not say so.
void Team::look_at_processes() {
	for (std::size_t i = 0; i < handles_.size(); i++) {
		if (!handles_[i])
			continue;
		Member &one = memory_->members[i + 1];
		pid_t pid = 0;
		if (GetBackgroundWorkerPid(handles_[i], &pid) != BGWH_STOPPED)
			continue;
		pfree(std::exchange(handles_[i], nullptr));
		const auto stage = pg_atomic_read_u32(&one.stage);
		if (stage == joined && pg_atomic_read_u32(&one.share) > 0 && set_stop(memory_, Stop::helper_gone, 0))
			wake_others();
		pg_atomic_write_u32(&one.additions, 0);
		pg_memory_barrier();
		pg_atomic_write_u32(&one.stage, left);
	}
}

void Team::look_after_helpers(Delivery &delivery) {
	if (!tried_) {
		if (!delivery.proven() || delivery.failure() || pg_atomic_read_u32(&memory_->stop) != 0)
			return;
		start_helpers(delivery.concurrency());
	}
	if (handles_.empty())
		return;
	look_at_processes();
	const std::size_t workers = handles_.size() + 1;
	std::size_t mine = total_;
	for (std::size_t i = 1; i < workers; i++) {
		const auto stage = pg_atomic_read_u32(&memory_->members[i].stage);
		if (stage == asked || stage == joined)
			mine -= total_ / workers + (i < total_ % workers ? 1 : 0);
	}
	delivery.set_concurrency(mine);
	if (delivery.under_way() > mine)
		return;
	for (std::size_t i = 1; i < workers; i++) {
		Member &one = memory_->members[i];
		if (pg_atomic_read_u32(&one.stage) == joined && pg_atomic_read_u32(&one.share) == 0) {
			pg_atomic_write_u32(&one.share,
			                    static_cast<std::uint32_t>(total_ / workers + (i < total_ % workers ? 1 : 0)));
			wake(pg_atomic_read_u32(&one.pid));
		}
	}
}

bool Team::all_left() const {
	for (std::size_t i = 1; i <= handles_.size(); i++)
		if (const auto stage = pg_atomic_read_u32(&memory_->members[i].stage); stage == asked || stage == joined)
			return false;
	return true;
}

void Team::wait_for_all(const std::function<bool()> &look) {
	pg_atomic_write_u32(&memory_->members[0].additions, 0);
	pg_memory_barrier();
	wake_others();
	COURIER_FAULT("waiting_for_helpers");
	auto looked = std::chrono::steady_clock::now();
	for (;;) {
		look_at_processes();
		for (std::size_t i = 1; i <= handles_.size(); i++) {
			Member &one = memory_->members[i];
			if (pg_atomic_read_u32(&one.stage) == joined && pg_atomic_read_u32(&one.share) == 0) {
				pg_atomic_write_u32(&one.share, 1); // it finds no part, or that all have stopped
				wake(pg_atomic_read_u32(&one.pid));
			}
		}
		if (all_left())
			return;
		try {
			call_postgres([] {
				(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000, PG_WAIT_EXTENSION);
				ResetLatch(MyLatch);
				CHECK_FOR_INTERRUPTS();
				if (ConfigReloadPending) {
					ConfigReloadPending = false;
					ProcessConfigFile(PGC_SIGHUP);
				}
			});
			if (const auto now = std::chrono::steady_clock::now(); now - looked >= std::chrono::seconds(1)) {
				looked = now;
				if (pg_atomic_read_u32(&memory_->stop) == 0 && look())
					stop(Stop::cancelled, {});
			}
		} catch (const PgError &error) {
			if (!error.is_cancel())
				throw;
			stop(Stop::cancelled, {});
		}
	}
}

} // namespace courier::pg
