// Processes beside a gang that its attempt can do without: where they go, and whom they make room
// for.
#include <algorithm>

#include "coordinator/scheduler/scheduler.h"

namespace muster {

using scheduling::Helper;
using scheduling::Pool;
using scheduling::Pools;
using scheduling::Room;
using scheduling::Stage;

namespace {

constexpr Millis kLivedMs = 2'000;  // One that did not live for so long is not replaced at once.
constexpr Millis kBackoffFirstMs = 250;
constexpr Millis kBackoffMaxMs = 30'000;

// Spools of logs are kept by number, so none is given twice in an attempt. Those of an attempt that
// is older than this coordinator are not known: each coordinator has some of its own.
constexpr std::uint32_t kNumbers = 1U << 18U;
constexpr std::uint64_t kShares = (1U << 14U) - 2;

// The most free slots of the job's size, but `shunned` only if there is no other; ties by name.
const WorkerName* Roomiest(const Pool& pool, std::uint64_t memory_mib, const WorkerName& shunned) {
  const std::pair<const WorkerName, Room>* best = nullptr;
  for (const auto& entry : pool.rooms) {
    const auto& [name, room] = entry;
    if (room.free == 0 || room.memory_mib_per_slot < memory_mib) continue;
    if (best == nullptr || best->first == shunned ||
        (name != shunned && room.free > best->second.free)) {
      best = &entry;
    }
  }
  return best == nullptr ? nullptr : &best->first;
}

}  // namespace

void Scheduler::PlaceHelpers(std::optional<Pools>& pools, Millis now) {
  // All give way before any is placed: what one gives up is of use to others once it is released.
  for (auto& [id, job] : active_) {
    if (job.helpers.empty()) continue;
    if (!pools) pools = scheduling::PoolsOf(workers_);
    YieldHelpers(job, *pools);
    job.owner->slots += static_cast<std::uint32_t>(job.helpers.size());
  }
  // One each, so that they are dealt out evenly.
  for (auto& [id, job] : active_) {
    if (job.helpers.size() >= job.request.helpers || now < job.helper_at) continue;
    if (!job.MayHaveHelpers()) continue;
    if (!pools) pools = scheduling::PoolsOf(workers_);
    PlaceHelper(job, *pools, now);
  }
}

// Those on workers that are to run nothing, beyond what the owner's gangs and older helpers leave
// of the limit, and all where others wait for slots.
void Scheduler::YieldHelpers(Job& job, const Pools& pools) {
  const std::uint32_t limit = job.owner->limits.slots;
  std::uint32_t slots = job.owner->slots;
  for (auto helper = job.helpers.begin(); helper != job.helpers.end();) {
    const auto& [number, state] = *helper;
    const Worker& worker = workers_.at(state.worker);
    const auto pool = pools.classes.find(worker.numerics_class);
    const bool awaited = pool != pools.classes.end() && IsAwaited(pool->second);
    const bool kept = !awaited && !worker.Closed() && (limit == 0 || slots < limit);
    if (kept) {
      ++slots;
      ++helper;
      continue;
    }
    Undesire({{job.request.id, job.attempt}, number}, state.worker);
    helper = job.helpers.erase(helper);
  }
}

// Whether a job waits for more than the slots that its last attempt leaves.
bool Scheduler::IsAwaited(const Pool& pool) const {
  const auto found = active_.find(pool.reserved_for);
  if (found == active_.end()) return false;
  const Job& job = found->second;
  return job.stage == Stage::kQueued ||
         std::any_of(job.ranks.begin(), job.ranks.end(), [this](const Rank& rank) {
           const Worker& worker = workers_.at(rank.worker);
           return worker.lost || worker.Closed();
         });
}

void Scheduler::PlaceHelper(Job& job, Pools& pools, Millis now) {
  const OwnerLimits& limits = job.owner->limits;
  if (limits.disabled || (limits.slots > 0 && job.owner->slots >= limits.slots)) return;
  if (pools.reserved_for != 0 || job.next_helper == job.helpers_end) return;
  const auto place_in = [&](Pool& pool) {
    if (pool.reserved_for != 0) return false;
    const WorkerName* name = Roomiest(pool, job.request.memory_mib_per_rank, job.helper_failed_on);
    if (name != nullptr) PlaceHelperIn(job, pool, *name, now);
    return name != nullptr;
  };
  const auto own = pools.classes.find(job.numerics_class);
  if (own != pools.classes.end() && place_in(own->second)) return;
  if (!job.request.helpers_anywhere) return;
  for (auto& [numerics_class, pool] : pools.classes) {
    if (numerics_class != job.numerics_class && place_in(pool)) return;
  }
}

void Scheduler::PlaceHelperIn(Job& job, Pool& pool, const WorkerName& name, Millis now) {
  const std::uint32_t number = job.next_helper++;
  job.helpers[number] = {.worker = name, .placed_at = now};
  workers_.at(name).holds[{{job.request.id, job.attempt}, number}] = {.desired = true};
  changed_.insert(name);
  --pool.rooms.at(name).free;
  ++job.owner->slots;
}

// Of an attempt that starts, or was live before this coordinator.
void Scheduler::NumberHelpers(Job& job) const {
  const auto share = static_cast<std::uint32_t>(1 + options_.epoch % kShares);
  const std::uint32_t first = job.restored ? share * kNumbers : 0;
  job.next_helper = first + job.request.ranks;
  job.helpers_end = first + kNumbers;
  job.helper_at = job.helper_backoff_ms = 0;
  job.helper_failed_on.clear();
}

// What a worker says of one that it should run; of others its hold is enough.
void Scheduler::TakeHelper(const WorkerName& name, const RankReport& report) {
  const auto job = active_.find(report.id.attempt.job);
  if (job == active_.end() || job->second.attempt != report.id.attempt.number) return;
  const auto found = job->second.helpers.find(report.id.rank);
  if (found == job->second.helpers.end() || found->second.worker != name) return;
  Helper& helper = found->second;
  helper.phase = std::max(helper.phase, report.phase);
  if (report.pid != 0) helper.pid = report.pid;
  if (helper.phase != RankPhase::kExited && !report.released) return;
  if (now_ - helper.placed_at >= kLivedMs) {
    job->second.helper_backoff_ms = 0;
  } else {
    job->second.helper_backoff_ms =
        std::clamp(2 * job->second.helper_backoff_ms, kBackoffFirstMs, kBackoffMaxMs);
    job->second.helper_failed_on = name;
  }
  job->second.helper_at = now_ + job->second.helper_backoff_ms;
  Undesire(report.id, name);
  job->second.helpers.erase(found);
}

// With its worker, which says nothing of the helper: another one follows at once.
void Scheduler::LoseHelper(const RankId& id) {
  const auto job = active_.find(id.attempt.job);
  if (job == active_.end() || job->second.attempt != id.attempt.number) return;
  job->second.helpers.erase(id.rank);
}

void Scheduler::WithdrawHelpers(Job& job) {
  for (const auto& [number, helper] : job.helpers) {
    Undesire({{job.request.id, job.attempt}, number}, helper.worker);
  }
  job.helpers.clear();
}

}  // namespace muster
