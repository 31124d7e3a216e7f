#pragma once

// Named places where a test build can be told to die, fail or wait (test/t drives them through pg_courier.fault_point).
// A release build knows nothing of them: the macro is empty and the setting does not exist.
#ifdef COURIER_FAULT_POINTS

namespace courier::pg {

// pg_courier.fault_point = "<name>:kill" kills this process with SIGKILL, "<name>:error" raises an error, "<name>:wait" waits
// until the setting says something else (a minute at most).
void reach_fault_point(const char *name);

} // namespace courier::pg

#define COURIER_FAULT(name) ::courier::pg::reach_fault_point(name)

#else

#define COURIER_FAULT(name) ((void)0)

#endif
