// The lanes' own state, brought together for a checkpoint.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "collectives/group.h"

namespace muster {

// `local` has an element for each of this rank's lanes, neighbours in the fixed order; the result
// has one for each lane of the job. Collective; the same on all ranks.
Result<std::vector<std::string>> GatherLaneBytes(Group& group,
                                                 const std::vector<std::string>& local);

}  // namespace muster
