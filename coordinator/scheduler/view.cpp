// What people and the coordinator's shell may ask.
#include <algorithm>

#include "base/check.h"
#include "coordinator/scheduler/placement.h"
#include "coordinator/scheduler/scheduler.h"

namespace muster {

using scheduling::Stage;
using scheduling::Wait;

namespace {

std::string Count(std::uint64_t n, const std::string& noun) {
  return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

// The workers that still have a rank of the ended attempt.
std::string Unreleased(const scheduling::Job& job) {
  std::set<WorkerName> names;
  bool drains = true;
  for (const scheduling::Rank& rank : job.ranks) drains = drains && rank.released;
  for (const scheduling::Rank& rank : job.ranks) {
    if (drains ? !rank.drained : !rank.released) names.insert(rank.worker);
  }
  std::string list;
  for (const WorkerName& name : names) list += (list.empty() ? "" : ", ") + name;
  return (drains ? "the last logs and metrics from " : "the release of its ranks on ") + list;
}

}  // namespace

bool Scheduler::MayCommit(AttemptId attempt) const {
  const auto job = active_.find(attempt.job);
  if (job == active_.end() || job->second.attempt != attempt.number) return false;
  const bool live = job->second.stage == Stage::kLive || job->second.succeeded;
  return live && !job->second.cancelled;
}

bool Scheduler::Knows(JobId job) const { return active_.contains(job) || ended_.contains(job); }

std::uint32_t Scheduler::LargestGang(std::uint64_t memory_mib_per_rank) const {
  std::map<std::string, std::uint32_t> slots;
  std::uint32_t unreported = 0;
  for (const auto& [name, worker] : workers_) {
    const bool unknown = worker.numerics_class.empty() && worker.incarnation.empty();
    if (!unknown && worker.memory_mib_per_slot < memory_mib_per_rank) continue;
    (unknown ? unreported : slots[worker.numerics_class]) += worker.slots;
  }
  std::uint32_t largest = 0;
  for (const auto& [name, sum] : slots) largest = std::max(largest, sum);
  return largest + unreported;
}

JobView Scheduler::View(JobId id) const {
  if (const auto ended = ended_.find(id); ended != ended_.end()) return ended->second;
  const auto found = active_.find(id);
  MUSTER_CHECK(found != active_.end(), "no such job");
  const Job& job = found->second;
  JobView view;
  const bool over = job.cancelled || job.last || job.succeeded;
  if (job.stage == Stage::kLive || (job.stage == Stage::kReleasing && over)) {
    view.state = job.running ? JobState::kRunning : JobState::kStarting;
  }
  view.reason = Reason(job);
  view.attempt = job.attempt;
  for (const Rank& rank : job.ranks) view.ranks.push_back({rank.worker, rank.phase, rank.pid});
  for (const auto& [number, helper] : job.helpers) {
    view.helpers[number] = {helper.worker, helper.phase, helper.pid};
  }
  view.numerics_class = job.numerics_class;
  view.failures = job.failures;
  view.infrastructure = job.infrastructure;
  return view;
}

std::string Scheduler::Reason(const Job& job) const {
  const std::string attempt = "attempt " + std::to_string(job.attempt);
  if (job.cancelled) {
    return job.stage == Stage::kReleasing ? job.reason + "; waits for " + Unreleased(job)
                                          : job.reason;
  }
  const Millis alive_ms = job.MayLiveUntil() - now_;
  if (job.stage == Stage::kReleasing && !job.last && !job.succeeded && alive_ms > 0) {
    return attempt + " ended; waits for proof that its ranks on " + job.OutOfReach() +
           " have ended, " + std::to_string((alive_ms + 999) / 1000) +
           " s at most, since nothing undoes what a command does, after: " + job.reason;
  }
  if (job.stage == Stage::kReleasing) {
    const std::string waits = "waits for " + Unreleased(job) + " after: " + job.reason;
    return job.last || job.succeeded ? waits : attempt + " ended; " + waits;
  }
  if (job.stage == Stage::kLive) {
    if (job.running) return "";
    const auto run = static_cast<std::uint64_t>(
        std::count_if(job.ranks.begin(), job.ranks.end(),
                      [](const Rank& r) { return r.phase >= RankPhase::kRunning; }));
    const auto unheard = static_cast<std::uint64_t>(std::count_if(
        job.ranks.begin(), job.ranks.end(), [](const Rank& r) { return r.pid == 0; }));
    if (job.restored && unheard > 0) {
      return "the coordinator has started again and waits for news of attempt " +
             std::to_string(job.attempt) + ": " + Count(unheard, "rank") + " not heard of yet";
    }
    return attempt + " starts: " + std::to_string(run) + " of " + Count(job.ranks.size(), "rank") +
           " made a first step";
  }
  const std::string waits = WaitReason(job);
  if (job.wait == Wait::kBackoff || job.reason.empty()) return waits;
  return waits + " (" + attempt + " ended: " + job.reason + ")";
}

std::string Scheduler::WaitReason(const Job& job) const {
  switch (job.wait) {
    case Wait::kTick:
      return "has just been queued";
    case Wait::kSlots:
      return "waits for " + Count(job.request.ranks, "slot") + ", free and ready";
    case Wait::kBehind:
      return "waits for job " + std::to_string(job.behind) + " ahead of it";
    case Wait::kReporting:
      return "waits for workers: the coordinator was restarted and not all have reported";
    case Wait::kBackoff:
      return "retries in " + std::to_string((job.ready_at - now_ + 999) / 1000) +
             " s after: " + job.reason;
    case Wait::kDisabled:
      return "waits: its owner " + job.request.owner + " is disabled";
    case Wait::kRunningLimit:
      return "waits: " + job.request.owner + " already has " + Count(job.owner_has, "running job") +
             ", and the limit is " + std::to_string(job.owner->limits.running);
    case Wait::kSlotsLimit:
      return "waits: it needs " + Count(job.request.ranks, "slot") + ", " + job.request.owner +
             " already has " + std::to_string(job.owner_has) + ", and the limit is " +
             std::to_string(job.owner->limits.slots);
    case Wait::kNoFit:
      break;
  }
  return NoFitReason(job);
}

std::string Scheduler::NoFitReason(const Job& job) const {
  const scheduling::Pools pools = scheduling::PoolsOf(workers_);
  const auto closed = std::count_if(workers_.begin(), workers_.end(), [](const auto& entry) {
    return !entry.second.lost && entry.second.Closed();
  });
  const auto lost = std::count_if(workers_.begin(), workers_.end(),
                                  [](const auto& entry) { return entry.second.lost; });
  std::string more = closed == 0 ? "" : ", " + std::to_string(closed) + " drained";
  if (lost > 0) more += ", " + std::to_string(lost) + " lost";
  if (pools.classes.empty()) {
    if (workers_.empty()) return "waits for workers: none has registered";
    return "waits for workers: " + Count(workers_.size(), "known worker") +
           (closed == 0 ? ", none in touch" : more);
  }
  const std::uint64_t memory_mib = job.request.memory_mib_per_rank;
  std::string needs = "needs " + Count(job.request.ranks, "slot");
  if (memory_mib > 0) needs += " of " + std::to_string(memory_mib) + " MiB";
  const auto holds = [&](const scheduling::Pool& pool) {
    return Count(pool.rooms.size(), "worker") + (pool.rooms.size() == 1 ? " holds " : " hold ") +
           std::to_string(pool.SlotsFor(memory_mib)) + more;
  };
  if (job.request.fenced && !job.numerics_class.empty()) {
    const auto own = pools.classes.find(job.numerics_class);
    const std::string began = " of numerics class " + job.numerics_class + ", in which it began; ";
    if (own == pools.classes.end()) {
      return needs + began +
             "no worker here is of it (first other: " + pools.classes.begin()->first +
             "); muster resume " + std::to_string(job.request.id) +
             " --allow-new-numerics lets it go on there";
    }
    return needs + began + holds(own->second);
  }
  const scheduling::Pool* largest = &pools.classes.begin()->second;
  for (const auto& [name, pool] : pools.classes) {
    if (pool.SlotsFor(memory_mib) > largest->SlotsFor(memory_mib)) largest = &pool;
  }
  return needs + " of one numerics class; " + holds(*largest);
}

std::vector<WorkerView> Scheduler::Workers() const {
  std::vector<WorkerView> views;
  for (const auto& [name, worker] : workers_) {
    views.push_back({name, worker.lost, worker.slots, worker.SlotsUsed(), worker.last_seen,
                     worker.leaving, worker.drain});
  }
  return views;
}

bool Scheduler::MayRegister(const WorkerName& name, const std::string& incarnation,
                            Millis now) const {
  const auto found = workers_.find(name);
  if (found == workers_.end()) return true;
  const Worker& worker = found->second;
  return worker.incarnation.empty() || worker.incarnation == incarnation || worker.lost ||
         !worker.connected || now - worker.last_seen > options_.worker_timeout_ms;
}

}  // namespace muster
