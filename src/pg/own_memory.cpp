#include "pg/own_memory.hpp"

#include <fstream>

#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "pg/postgres.hpp"

extern "C" {
#include "utils/memutils.h"
}

namespace courier::pg {

namespace {

constexpr std::size_t much = std::size_t {16} << 20; // a worker that has not compared anything has less

} // namespace

// Where the system does not tell: what the server's allocator knows.
std::size_t own_memory() {
	std::ifstream file("/proc/self/statm");
	std::size_t total = 0, resident = 0, shared = 0;
	if (file >> total >> resident >> shared)
		return (resident - shared) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
	return MemoryContextMemAllocated(TopMemoryContext, true);
}

void give_back_memory() {
#ifdef __GLIBC__
	if (own_memory() > much)
		malloc_trim(0);
#endif
}

} // namespace courier::pg
