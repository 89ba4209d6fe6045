// Checks the wires: all-reduces of a buffer whose every element is verified.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "collectives/group.h"
#include "trainer/trainer_host.h"

namespace muster::rank {

struct CollectiveOptions {
  std::uint64_t steps = 20;
  std::uint64_t bytes = 4U << 20U;  // Of each rank, f32; rounded up to whole elements.
  std::string metrics_path;         // Rank 0's; empty = none.
};

// Metrics of each step, by rank 0: collective/latency_us and collective/busbw_gbps, which is
// bytes / time * 2 (n - 1) / n for n ranks (nccl-tests' formula), in 10^9 bytes a second. kDataLoss
// names the first wrong element.
Status RunCollective(const CollectiveOptions& options, Group& group, TrainerHost& host);

}  // namespace muster::rank
