#pragma once

#include "pg/run_definition.hpp"

namespace courier::pg {

// What a helper (run_team.cpp) has to know of a run that is being sent, as a text: the definition that it began with,
// and what was made of it.
std::string describe_run(const RunDefinition &run);

} // namespace courier::pg
