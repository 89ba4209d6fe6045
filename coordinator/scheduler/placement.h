// Where a gang goes: all ranks or none, on workers of one numerics class.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/scheduler/state.h"

namespace muster::scheduling {

// What one worker offers.
struct Room {
  std::uint32_t slots = 0;  // Taken or not.
  std::uint32_t free = 0;   // 0 until it is ready.
  std::uint64_t memory_mib_per_slot = 0;
};

// What the workers of one numerics class offer.
struct Pool {
  std::map<WorkerName, Room> rooms;  // Of the workers that are not lost.
  JobId reserved_for = 0;            // The oldest job that waits for it; 0 = none.

  // In slots that hold a rank of this size, taken or not.
  std::uint64_t SlotsFor(std::uint64_t memory_mib_per_rank) const;
};

struct Pools {
  std::map<std::string, Pool> classes;
  std::uint32_t unreported_slots = 0;  // Of restored workers whose class is not known yet.
  JobId reserved_for = 0;              // A job that only those could hold; 0 = none.
};

Pools PoolsOf(const std::map<WorkerName, Worker>& workers);

// Workers by rank, neighbouring ranks side by side; empty if `free` cannot hold `ranks`. The one
// worker that holds the whole gang with the least left over, otherwise the workers with most free
// slots first; ties by name. O(workers log workers).
std::vector<WorkerName> PlaceGang(const std::map<WorkerName, std::uint32_t>& free,
                                  std::uint32_t ranks);

// Where a job may go now, or why not.
struct Verdict {
  Wait wait = Wait::kNoFit;           // Unless placed.
  JobId behind = 0;                   // With kBehind.
  std::vector<WorkerName> placement;  // Empty = not now.
  std::string numerics_class;
};

// Takes the slots from `pools`, or reserves for `job` every class that it would fit in. With
// `may_start` false only reserves. Call in the order of the queue. Over classes it prefers the
// fewest workers, then the first by name.
Verdict PlaceJob(Pools& pools, const Job& job, bool may_start);

}  // namespace muster::scheduling
