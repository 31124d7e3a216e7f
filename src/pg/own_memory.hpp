#pragma once

#include <cstddef>

namespace courier::pg {

// Bytes that this process has for itself alone: not shared memory, nor pages of files.
std::size_t own_memory();

// Gives back to the system what was allocated and freed, where that may be much: after a comparison, after a run.
void give_back_memory();

} // namespace courier::pg
