// What the ranks of this agent use of the machine, all together.
#pragma once

#include <cstdint>

namespace muster::agent {

struct RankUsage {
  std::uint64_t resident_bytes = 0;  // Pages that processes share count for each of them.
  double cpu_seconds = 0;            // Of all that has ever run below this process.
};

// Of the descendants of this process, which must be their subreaper. Walks /proc: about 0.1 ms a
// process. A process that ends meanwhile may be missed once, never counted twice.
RankUsage MeasureRanks();

}  // namespace muster::agent
