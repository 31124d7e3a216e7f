#include "pg/fault.hpp"

#ifdef COURIER_FAULT_POINTS

#include <csignal>
#include <cstring>
#include <unistd.h>

#include "pg/postgres.hpp"
#include "pg/settings.hpp"

extern "C" {
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

// No C++ object lives in these frames: reach_fault_point() leaves by ereport as it pleases.

namespace courier::pg {

namespace {

constexpr long wait_at_most_ms = 60 * 1000;
constexpr long look_every_ms = 50;

// The action asked for at this point, or nullptr.
const char *asked_for(const char *name) {
	const char *setting = settings::fault_point;
	const std::size_t length = std::strlen(name);
	if (setting == nullptr || std::strncmp(setting, name, length) != 0 || setting[length] != ':')
		return nullptr;
	return setting + length + 1;
}

void wait_while_asked(const char *name) {
	const TimestampTz start = GetCurrentTimestamp();
	for (const char *action = asked_for(name); action != nullptr && std::strcmp(action, "wait") == 0;
	     action = asked_for(name)) {
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), wait_at_most_ms))
			return;
		(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, look_every_ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending) {
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}

} // namespace

void reach_fault_point(const char *name) {
	const char *action = asked_for(name);
	if (action == nullptr)
		return;
	if (std::strcmp(action, "kill") == 0)
		kill(getpid(), SIGKILL);
	else if (std::strcmp(action, "error") == 0)
		ereport(ERROR,
		        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("fault point \"%s\" was reached", name)));
	else if (std::strcmp(action, "wait") == 0)
		wait_while_asked(name);
}

} // namespace courier::pg

#endif
