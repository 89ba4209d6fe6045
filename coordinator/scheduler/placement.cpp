#include "coordinator/scheduler/placement.h"

#include <algorithm>
#include <set>
#include <utility>

namespace muster::scheduling {

Pools PoolsOf(const std::map<WorkerName, Worker>& workers) {
  Pools pools;
  for (const auto& [name, worker] : workers) {
    if (worker.lost || worker.Closed()) continue;
    if (worker.numerics_class.empty() && worker.incarnation.empty()) {
      pools.unreported_slots += worker.slots;
      continue;
    }
    Room room{worker.slots, 0, worker.memory_mib_per_slot};
    const std::uint32_t used = worker.SlotsUsed();
    if (worker.ready && used < worker.slots) room.free = worker.slots - used;
    pools.classes[worker.numerics_class].rooms.emplace(name, room);
  }
  return pools;
}

std::uint64_t Pool::SlotsFor(std::uint64_t memory_mib_per_rank) const {
  std::uint64_t slots = 0;
  for (const auto& [name, room] : rooms) {
    if (room.memory_mib_per_slot >= memory_mib_per_rank) slots += room.slots;
  }
  return slots;
}

namespace {

// Free slots that are large enough for a rank of the job, by worker.
std::map<WorkerName, std::uint32_t> FreeFor(const Pool& pool, const Job& job) {
  std::map<WorkerName, std::uint32_t> free;
  for (const auto& [name, room] : pool.rooms) {
    const bool holds = room.memory_mib_per_slot >= job.request.memory_mib_per_rank;
    if (holds && room.free > 0) free.emplace(name, room.free);
  }
  return free;
}

}  // namespace

std::vector<WorkerName> PlaceGang(const std::map<WorkerName, std::uint32_t>& free,
                                  std::uint32_t ranks) {
  const std::pair<const WorkerName, std::uint32_t>* best = nullptr;
  for (const auto& entry : free) {
    if (entry.second >= ranks && (best == nullptr || entry.second < best->second)) best = &entry;
  }
  if (best != nullptr) return std::vector<WorkerName>(ranks, best->first);
  std::vector<std::pair<WorkerName, std::uint32_t>> by_space(free.begin(), free.end());
  std::stable_sort(by_space.begin(), by_space.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<WorkerName> placement;
  for (const auto& [name, slots] : by_space) {
    const std::size_t missing = ranks - placement.size();
    placement.insert(placement.end(), std::min<std::size_t>(slots, missing), name);
  }
  if (placement.size() < ranks) placement.clear();
  return placement;
}

Verdict PlaceJob(Pools& pools, const Job& job, bool may_start) {
  const std::uint32_t ranks = job.request.ranks;
  Verdict verdict;
  Pool* chosen = nullptr;
  std::size_t fewest_workers = 0;
  std::vector<Pool*> would_fit;
  for (auto& [name, pool] : pools.classes) {
    if (!job.MayRunIn(name) || pool.SlotsFor(job.request.memory_mib_per_rank) < ranks) continue;
    const JobId ahead = pool.reserved_for != 0 ? pool.reserved_for : pools.reserved_for;
    if (ahead != 0) {
      verdict.behind = ahead;
      continue;
    }
    would_fit.push_back(&pool);
    if (!may_start) continue;
    std::vector<WorkerName> placement = PlaceGang(FreeFor(pool, job), ranks);
    const std::size_t workers = std::set(placement.begin(), placement.end()).size();
    if (placement.empty() || (chosen != nullptr && workers >= fewest_workers)) continue;
    chosen = &pool;
    fewest_workers = workers;
    verdict.placement = std::move(placement);
    verdict.numerics_class = name;
  }
  if (chosen != nullptr) {
    for (const WorkerName& worker : verdict.placement) --chosen->rooms.at(worker).free;
    return verdict;
  }
  for (Pool* pool : would_fit) pool->reserved_for = job.request.id;
  if (!would_fit.empty()) {
    verdict.wait = Wait::kSlots;
  } else if (verdict.behind != 0) {
    verdict.wait = Wait::kBehind;
  } else if (pools.unreported_slots > 0) {
    // Whether it fits is known once they report: until then nobody overtakes it.
    std::uint64_t slots = 0;
    for (const auto& [name, pool] : pools.classes) {
      slots = std::max(slots, pool.SlotsFor(job.request.memory_mib_per_rank));
    }
    if (slots + pools.unreported_slots >= ranks) {
      verdict.wait = Wait::kReporting;
      if (pools.reserved_for == 0) pools.reserved_for = job.request.id;
    }
  }
  return verdict;
}

}  // namespace muster::scheduling
