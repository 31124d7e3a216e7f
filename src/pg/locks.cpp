#include "pg/locks.hpp"

#include "pg/guard.hpp"

// Two lock modes make one lease. A probe must be able to see that a lease is held, and must not make a worker believe for an
// instant that somebody else has it: without a scheduler nobody would look at that worker's run again.
//
//   claim   ShareUpdateExclusiveLock, conditional; conflicts with itself and not with a probe
//   proof   ExclusiveLock, waited for by the one who has the claim; conflicts with a probe and, the claim being taken, with
//           nothing else, so the wait lasts as long as a probe does: microseconds
//   probe   RowShareLock, conditional, given back at once
//
// A shared lock has other modes. All but the probe may be waited for: what they wait for ends by itself.
//
//   member        ShareLock; conflicts with the other two and not with itself
//   alone         ExclusiveLock; conflicts with all three
//   member_probe  RowExclusiveLock, conditional, given back at once; conflicts with the other two and not with itself
//
// The lock method is that of advisory locks, because only there do session locks survive a transaction that aborts. Advisory
// locks of users have class 1 or 2 in the last field of the tag and cannot meet ours. What can is
// pg_advisory_unlock_all(), called by a model: it drops every session lock of this method. It harms the caller's own sync
// only, and held_here() notices.

namespace courier::pg::locks {

namespace {

constexpr LOCKMODE claim = ShareUpdateExclusiveLock;
constexpr LOCKMODE proof = ExclusiveLock;
constexpr LOCKMODE probe = RowShareLock;

constexpr LOCKMODE member = ShareLock;
constexpr LOCKMODE alone = ExclusiveLock;
constexpr LOCKMODE member_probe = RowExclusiveLock;

constexpr uint16 lease_class = 0xC001;
constexpr uint16 scheduler_class = 0xC002;
constexpr uint16 slot_class = 0xC003;
constexpr uint16 housekeeping_class = 0xC004;
constexpr uint16 helpers_class = 0xC005;

LOCKTAG make_tag(Oid database, uint32 id, uint16 lock_class) {
	LOCKTAG tag;
	SET_LOCKTAG_ADVISORY(tag, database, 0, id, lock_class);
	return tag;
}

} // namespace

LOCKTAG lease(int32 sync_id) {
	return make_tag(MyDatabaseId, static_cast<uint32>(sync_id), lease_class);
}

LOCKTAG helpers(int32 sync_id) {
	return make_tag(MyDatabaseId, static_cast<uint32>(sync_id), helpers_class);
}

LOCKTAG scheduler() {
	return make_tag(MyDatabaseId, 0, scheduler_class);
}

LOCKTAG housekeeping() {
	return make_tag(MyDatabaseId, 0, housekeeping_class);
}

LOCKTAG running_slot(int slot) {
	return make_tag(InvalidOid, static_cast<uint32>(slot), slot_class);
}

bool try_acquire(const LOCKTAG &tag) {
	if (!call_postgres([&] { return LockAcquire(&tag, claim, true, true) != LOCKACQUIRE_NOT_AVAIL; }))
		return false;
	try {
		call_postgres([&] { (void)LockAcquire(&tag, proof, true, false); });
	} catch (...) {
		// Cancelled during the wait, or the lock table is full: half a lease would look free and block everybody.
		call_postgres([&] { (void)LockRelease(&tag, claim, true); });
		throw;
	}
	return true;
}

void release(const LOCKTAG &tag) {
	if (!held_here(tag))
		return; // LockRelease would print a warning
	call_postgres([&] {
		(void)LockRelease(&tag, proof, true);
		(void)LockRelease(&tag, claim, true);
	});
}

bool held_here(const LOCKTAG &tag) {
	return call_postgres([&] { return COURIER_LOCK_HELD_BY_ME(&tag, proof); });
}

bool is_held(const LOCKTAG &tag) {
	if (held_here(tag))
		return true;
	return call_postgres([&] {
		if (LockAcquire(&tag, probe, true, true) == LOCKACQUIRE_NOT_AVAIL)
			return true;
		(void)LockRelease(&tag, probe, true);
		return false;
	});
}

void join(const LOCKTAG &tag) {
	call_postgres([&] { (void)LockAcquire(&tag, member, true, false); });
}

void leave(const LOCKTAG &tag) {
	if (joined_here(tag))
		call_postgres([&] { (void)LockRelease(&tag, member, true); });
}

bool joined_here(const LOCKTAG &tag) {
	return call_postgres([&] { return COURIER_LOCK_HELD_BY_ME(&tag, member); });
}

bool has_members(const LOCKTAG &tag) {
	return call_postgres([&] {
		if (LockAcquire(&tag, member_probe, true, true) == LOCKACQUIRE_NOT_AVAIL)
			return true;
		(void)LockRelease(&tag, member_probe, true);
		return false;
	});
}

void be_alone(const LOCKTAG &tag) {
	call_postgres([&] { (void)LockAcquire(&tag, alone, true, false); });
}

bool try_alone(const LOCKTAG &tag) {
	return call_postgres([&] { return LockAcquire(&tag, alone, true, true) != LOCKACQUIRE_NOT_AVAIL; });
}

void leave_alone(const LOCKTAG &tag) {
	call_postgres([&] { (void)LockRelease(&tag, alone, true); });
}

} // namespace courier::pg::locks
