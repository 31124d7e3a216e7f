#pragma once

#include <string_view>

#include "core/client.hpp"
#include "core/delivery.hpp"

namespace courier {

// Which operation a run asks for, by kind of change. nullopt: nothing is sent for such changes. The arguments are resolved
// (check_sync). For sync types other than objects, mode and on_removed do not matter.
OperationMap operations(std::string_view mode, std::string_view sync_type, std::string_view on_removed,
                        const Client &client);

} // namespace courier
