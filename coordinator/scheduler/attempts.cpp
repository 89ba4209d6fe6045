// The life of a job's attempts: start, end, retry, verdict.
#include <algorithm>
#include <utility>

#include "coordinator/scheduler/placement.h"
#include "coordinator/scheduler/scheduler.h"

namespace muster {

using scheduling::Stage;
using scheduling::Wait;

namespace {

std::string Describe(std::size_t index, const scheduling::Rank& rank) {
  const std::string who = "rank " + std::to_string(index) + " on " + rank.worker;
  const std::string why = rank.exit_reason.empty() ? "it gave no reason" : rank.exit_reason;
  if (rank.exit != ExitKind::kOwnFailure) return who + " was lost: " + why;
  if (rank.exit_code || rank.exit_step == 0) return who + " failed: " + why;
  return who + " failed after step " + std::to_string(rank.exit_step) + ": " + why;
}

constexpr char kAllSucceeded[] = "all ranks succeeded";

// What there is to say of a job that has succeeded: mostly nothing.
std::string SuccessText(const scheduling::Job& job) {
  return job.cancelled || job.reason == kAllSucceeded ? "" : job.reason;
}

std::string LimitText(const scheduling::Job& job) {
  return std::to_string(job.request.time_limit_ms / 1'000) + " s";
}

// Of the ranks that ended badly: one that failed by itself, since others' losses follow from it.
const scheduling::Rank* FailedRank(const scheduling::Job& job) {
  const scheduling::Rank* failed = nullptr;
  for (const scheduling::Rank& rank : job.ranks) {
    if (!rank.Exited() || rank.Succeeded() || rank.Stopped()) continue;
    if (rank.exit == ExitKind::kOwnFailure) return &rank;
    if (failed == nullptr) failed = &rank;
  }
  return failed;
}

}  // namespace

void Scheduler::Advance(JobId id, Millis now) {
  const auto found = active_.find(id);
  if (found == active_.end()) return;
  Job& job = found->second;
  if (job.stage == Stage::kLive) AdvanceLive(job, now);
  if (job.stage == Stage::kLive) {
    if (job.succeeded && job.AllReleased() && job.AllDrained()) {
      EndJob(id, JobState::kSucceeded, SuccessText(job));
    }
    return;
  }
  if (job.stage == Stage::kReleasing) {
    const Rank* failed = FailedRank(job);
    if (job.counted_retry && !job.cancelled && failed != nullptr &&
        failed->exit == ExitKind::kOwnFailure) {
      --job.retries;
      CountFailure(job, *failed);
      decisions_.push_back(Ended(job));
    }
    if (!job.AllReleased()) return;
    const bool over = job.cancelled || job.last || job.succeeded;
    if (over && !job.AllDrained()) return;
    if (!over && now < job.MayLiveUntil()) return;
    job.stage = Stage::kQueued;
    job.ready_at = job.ended_at + Backoff(job);
  }
  if (job.cancelled) {
    EndJob(id, JobState::kCancelled, job.reason);
  } else if (job.succeeded) {
    EndJob(id, JobState::kSucceeded, SuccessText(job));
  } else if (job.last) {
    EndJob(id, JobState::kFailed, job.reason);
  }
}

void Scheduler::AdvanceLive(Job& job, Millis now) {
  const Rank* failed = FailedRank(job);
  if (job.cancelled || failed != nullptr) {
    EndAttempt(job, job.cancelled ? nullptr : failed, now);
    return;
  }
  job.running |= std::all_of(job.ranks.begin(), job.ranks.end(),
                             [](const Rank& r) { return r.phase >= RankPhase::kRunning; });
  if (!job.succeeded && job.AllStopped()) {
    const auto stopped =
        std::find_if(job.ranks.begin(), job.ranks.end(), [](const Rank& r) { return r.Stopped(); });
    if (job.stopping) return EndForTime(job, now);
    return job.moving.empty() ? EndAttempt(job, &*stopped, now) : EndMoved(job, now);
  }
  if (job.succeeded || !job.AllSucceeded()) return;
  // Journaled at once: no loss of a worker, nor of this process, takes it back. The ranks stay
  // desired, so that their agents report them until they are drained.
  job.succeeded = true;
  WithdrawHelpers(job);
  // One that had steps left says why it needed none of them.
  const std::string& why = job.ranks.front().exit_reason;
  job.reason = why.empty() ? kAllSucceeded : why;
  decisions_.push_back(Ended(job));
}

// `failed` is null when the job was cancelled.
void Scheduler::EndAttempt(Job& job, const Rank* failed, Millis now) {
  job.succeeded = job.infrastructure = job.counted_retry = job.moved = false;
  if (failed != nullptr) CountFailure(job, *failed);
  Conclude(job, now);
}

// The rest of every end, once it is said what it counts as and why.
void Scheduler::Conclude(Job& job, Millis now) {
  job.used_ms = job.UsedAt(now);
  job.stage = Stage::kReleasing;
  job.ended_at = now;
  Withdraw(job);
  decisions_.push_back(Ended(job));
}

void Scheduler::CountFailure(Job& job, const Rank& failed) {
  const auto index = static_cast<std::size_t>(&failed - job.ranks.data());
  job.reason = Describe(index, failed);
  job.infrastructure = failed.exit != ExitKind::kOwnFailure;
  job.counted_retry = job.infrastructure;
  job.last = false;
  if (job.infrastructure) {
    ++job.retries;
    job.last = job.retries > options_.retries_max;
    if (job.last) {
      job.reason = "lost " + std::to_string(job.retries) +
                   " attempts in a row without a checkpoint; the last: " + job.reason;
    }
    return;
  }
  ++job.failures;
  const bool same = job.request.fenced && job.failed_step == failed.exit_step &&
                    job.failed_reason == failed.exit_reason;
  job.failed_step = failed.exit_step;
  job.failed_reason = failed.exit_reason;
  // A program that has ended well has had its effects: what could not be kept of it is lost.
  const bool done = !job.request.fenced && failed.exit_code == 0;
  job.last = same || done || job.failures >= job.request.failures_max;
  job.exit_code = failed.exit_code;
  if (job.stopping) {
    // It was told that its time is up, and what it did then is its answer.
    job.last = true;
    job.reason += " (after the warning of the time limit of " + LimitText(job) + ")";
  } else if (done) {
    job.reason += "; it is not run again, since it exited with code 0";
  } else if (same) {
    job.reason += " (twice the same)";
  } else if (job.last && job.failures > 1) {
    job.reason = "failed " + std::to_string(job.failures) +
                 " times without a checkpoint between; the last: " + job.reason;
  }
}

Decision Scheduler::Ended(const Job& job) const {
  Decision decision{.kind = Decision::Kind::kAttemptEnded,
                    .attempt = {job.request.id, job.attempt},
                    .reason = job.reason,
                    .failures = job.failures,
                    .retries = job.retries,
                    .last = job.last};
  if (job.succeeded) return decision;
  if (job.moved && !job.cancelled) {
    decision.exit = ExitKind::kStopped;
    return decision;
  }
  decision.infrastructure = job.infrastructure;
  decision.exit = ExitKind::kInfrastructure;
  if (!job.cancelled && !job.infrastructure) {
    decision.exit = ExitKind::kOwnFailure;
    decision.failure = job.failed_reason;
    decision.step = job.failed_step.value_or(0);
    decision.exit_code = job.exit_code;
  }
  return decision;
}

void Scheduler::EndForTime(Job& job, Millis now) {
  job.succeeded = job.infrastructure = job.counted_retry = job.moved = false;
  job.last = true;
  job.exit_code.reset();
  job.failed_step.reset();
  job.failed_reason = job.reason = "time limit of " + LimitText(job) + " reached";
  Conclude(job, now);
}

// Once asked it stops, also when the worker is resumed meanwhile: its ranks may have obeyed.
void Scheduler::AskToMove(Job& job, Millis now) {
  if (job.stage != Stage::kLive || job.cancelled || job.succeeded || job.AllSucceeded()) return;
  for (const Rank& rank : job.ranks) {
    const Worker& worker = workers_.at(rank.worker);
    if (!worker.Closed()) continue;
    const std::string why = "worker " + rank.worker + " " +
                            (worker.drain ? "is " + worker.drain->reason : "shuts down");
    const Millis deadline_ms = worker.drain ? worker.drain->deadline_ms : 0;
    if (job.request.fenced && job.moving.empty()) {
      job.moving = why;
      job.asked_to_move_at = now;
      for (const Rank& other : job.ranks) changed_.insert(other.worker);
    }
    // Who can be asked has the time of an orderly stop, also when the deadline ran out while this
    // coordinator was away.
    constexpr Millis kLeastStopMs = 2'000;
    const Millis until =
        job.request.fenced ? job.asked_to_move_at + std::max(kLeastStopMs, job.StopMillis()) : 0;
    if (deadline_ms > 0 && now >= std::max(deadline_ms, until)) {
      job.moving = why + "; it had not stopped in time";
      return EndMoved(job, now);
    }
  }
}

void Scheduler::EndMoved(Job& job, Millis now) {
  job.succeeded = job.infrastructure = job.counted_retry = job.last = false;
  job.moved = true;
  job.exit_code.reset();
  job.reason = "moved: " + job.moving;
  Conclude(job, now);
}

void Scheduler::CheckTimeLimit(JobId id, Job& job, Millis now) {
  const Millis limit_ms = job.request.time_limit_ms;
  if (limit_ms == 0 || job.cancelled || job.succeeded || job.last) return;
  const Millis left_ms = limit_ms - job.UsedAt(now);
  if (job.stage == Stage::kLive) {
    if (left_ms <= 0 && !job.AllSucceeded()) return EndForTime(job, now);
    if (job.request.warning_ms == 0 || job.stopping) return;
    const Millis stop_ms = job.request.fenced ? std::min(job.StopMillis(), limit_ms / 2) : 0;
    if (left_ms > std::max(job.request.warning_ms, stop_ms)) return;
    job.stopping = true;
    for (const Rank& rank : job.ranks) changed_.insert(rank.worker);
    return;
  }
  if (left_ms > 0) return;
  // Its last attempt was lost just when the time was used up.
  job.last = true;
  job.infrastructure = false;
  job.reason = "time limit of " + LimitText(job) + " reached";
  touched_.insert(id);
}

void Scheduler::CheckTimes(Millis now) {
  for (auto& [id, job] : active_) {
    CheckTimeLimit(id, job, now);
    AskToMove(job, now);
    for (Rank& rank : job.ranks) {
      if (rank.may_live_until == 0 || now < rank.may_live_until) continue;
      rank.may_live_until = 0;
      touched_.insert(id);
    }
  }
}

// Its ranks and helpers are desired no more.
void Scheduler::Withdraw(Job& job) {
  for (std::uint32_t index = 0; index < job.ranks.size(); ++index) {
    Undesire({{job.request.id, job.attempt}, index}, job.ranks[index].worker);
  }
  WithdrawHelpers(job);
}

// A slot stays taken until its worker has obeyed that and says that nothing is left.
void Scheduler::Undesire(const RankId& id, const WorkerName& name) {
  Worker& worker = workers_.at(name);
  const auto hold = worker.holds.find(id);
  if (hold == worker.holds.end() || !hold->second.desired) return;
  hold->second.desired = false;
  hold->second.last_asked = {options_.epoch, answers_};
  changed_.insert(name);
}

void Scheduler::EndJob(JobId id, JobState state, const std::string& reason) {
  Job& job = active_.at(id);
  Withdraw(job);
  Decision decision{.kind = Decision::Kind::kJobEnded, .attempt = {id, job.attempt}};
  decision.reason = reason;
  if (const Millis alive_ms = job.MayLiveUntil() - now_;
      alive_ms > 0 && state != JobState::kSucceeded) {
    decision.reason += "; no word from " + job.OutOfReach() + ", where its ranks may run on for " +
                       std::to_string((alive_ms + 999) / 1000) + " s";
  }
  decision.state = state;
  decision.infrastructure = state == JobState::kFailed && job.infrastructure;
  decision.failures = job.failures;
  decision.retries = job.retries;
  JobView view = View(id);
  view.state = state;
  view.reason = decision.reason;
  view.infrastructure = decision.infrastructure;
  ended_.emplace(id, std::move(view));
  decisions_.push_back(std::move(decision));
  active_.erase(id);
}

// By the limits of its owner, who may have got something in this very round.
bool Scheduler::HeldBack(Job& job) {
  const OwnerLimits& limits = job.owner->limits;
  if (limits.disabled) {
    job.wait = Wait::kDisabled;
    return true;
  }
  if (limits.running > 0 && job.owner->running >= limits.running) {
    job.wait = Wait::kRunningLimit;
    job.owner_has = job.owner->running;
    return true;
  }
  if (job.owner->waiting != 0) {
    job.wait = Wait::kBehind;
    job.behind = job.owner->waiting;
    return true;
  }
  const std::uint64_t slots = std::uint64_t{job.owner->slots} + job.request.ranks;
  if (limits.slots == 0 || slots <= limits.slots) return false;
  job.wait = Wait::kSlotsLimit;
  job.owner_has = job.owner->slots;
  // The owner's smaller, younger ones do not keep it waiting forever; one that has become too large
  // for the limit by itself keeps nobody.
  if (job.request.ranks <= limits.slots) job.owner->waiting = job.request.id;
  return true;
}

void Scheduler::PlaceWaiting(std::optional<scheduling::Pools>& pools, Millis now) {
  for (auto& [name, owner] : owners_) owner = {.limits = owner.limits};
  for (const auto& [id, job] : active_) {
    if (job.stage != Stage::kQueued) job.owner->Take(job.request.ranks);
  }
  for (auto& [id, job] : active_) {
    if (job.stage == Stage::kLive) continue;
    if (!pools) pools = scheduling::PoolsOf(workers_);
    if (job.stage == Stage::kReleasing) {
      // It goes on where it was unless its workers cannot let go of its ranks for too long.
      const bool returns =
          !job.cancelled && !job.last && !job.succeeded && !job.owner->limits.disabled;
      if (returns && now < job.ended_at + options_.backoff_max_ms) {
        scheduling::PlaceJob(*pools, job, /*may_start=*/false);
      }
      continue;
    }
    if (job.cancelled) continue;  // Submitted and cancelled: ends in Advance.
    if (now < job.ready_at) {
      job.wait = Wait::kBackoff;
      continue;
    }
    if (HeldBack(job)) continue;
    const scheduling::Verdict verdict = scheduling::PlaceJob(*pools, job, /*may_start=*/true);
    job.wait = verdict.wait;
    job.behind = verdict.behind;
    if (verdict.placement.empty()) continue;
    StartAttempt(job, verdict.placement, verdict.numerics_class);
    job.owner->Take(job.request.ranks);
  }
}

void Scheduler::StartAttempt(Job& job, const std::vector<WorkerName>& placement,
                             const std::string& numerics_class) {
  job.stage = Stage::kLive;
  job.live_since = now_;
  job.running = job.restored = job.succeeded = job.stopping = job.moved = false;
  job.moving.clear();
  job.numerics_class = numerics_class;
  const AttemptId attempt{job.request.id, ++job.attempt};
  NumberHelpers(job);
  job.ranks.clear();
  for (const WorkerName& name : placement) {
    const auto rank = static_cast<std::uint32_t>(job.ranks.size());
    job.ranks.push_back({.worker = name});
    workers_.at(name).holds[{attempt, rank}] = {.desired = true};
    changed_.insert(name);
  }
  Decision decision{.kind = Decision::Kind::kAttemptStarted, .attempt = attempt};
  decision.placement = placement;
  decision.numerics_class = numerics_class;
  decision.failures = job.failures;
  decision.retries = job.retries;
  decisions_.push_back(std::move(decision));
}

// The first retry is immediate, also after a failure of the job's own.
Millis Scheduler::Backoff(const Job& job) const {
  if (!job.infrastructure || job.retries < 2) return 0;
  Millis wait_ms = options_.backoff_first_ms;
  for (std::uint32_t retry = 2; retry < job.retries && wait_ms < options_.backoff_max_ms; ++retry) {
    wait_ms *= 2;
  }
  return std::min(wait_ms, options_.backoff_max_ms);
}

}  // namespace muster
