// Local groups: the ranks are threads of one process. For tests, and for lessons without processes.
#pragma once

#include <memory>
#include <vector>

#include "collectives/group.h"

namespace muster {

// One group per rank, in rank order, at most 64; each is used by one thread. Ranks reach each
// other's arrays directly, so after an error an array given to a call must outlive all groups.
std::vector<std::unique_ptr<Group>> CreateLocalGroups(std::size_t size,
                                                      const GroupOptions& options = {});

}  // namespace muster
