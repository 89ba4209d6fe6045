#include "tests/sim/referee.h"

#include <algorithm>
#include <cstdlib>

namespace muster::sim {

std::string Name(const AttemptId& attempt) {
  return "job " + std::to_string(attempt.job) + " attempt " + std::to_string(attempt.number);
}

std::string Name(const RankId& rank) {
  return Name(rank.attempt) + " rank " + std::to_string(rank.rank);
}

void Referee::Break(const std::string& what) {
  if (broken_.empty()) broken_ = what;
}

void Referee::OnCancelAcknowledged(JobId job) {
  Seen& seen = jobs_.at(job);
  if (!seen.final_state) seen.cancel_acknowledged = true;
}

void Referee::OnDrain(const WorkerName& worker, bool drained) {
  if (drained) {
    drained_.insert(worker);
  } else {
    drained_.erase(worker);
  }
}

void Referee::OnCoordinatorAway(Millis step_ms) {
  for (auto& [id, job] : jobs_) {
    if (job.live) job.away_ms += step_ms;
  }
}

void Referee::OnJournaled(const Decision& decision, Millis now) {
  const auto job = jobs_.find(decision.attempt.job);
  if (job == jobs_.end()) return Break("a decision about a job that nobody submitted");
  if (job->second.final_state) return Break(Name(decision.attempt) + ": changed after its end");
  if (decision.kind == Decision::Kind::kAttemptStarted) {
    OnStarted(decision, job->second, now);
  } else {
    OnEnded(decision, job->second, now);
  }
}

void Referee::OnStarted(const Decision& decision, Seen& job, Millis now) {
  const std::string name = Name(decision.attempt);
  if (job.live) Break(name + ": starts before the one before it ended");
  if (decision.attempt.number != job.newest + 1) Break(name + ": is not the next number");
  job.newest = decision.attempt.number;
  job.live = true;
  job.live_since = now;
  if (job.numerics_class.empty()) job.numerics_class = decision.numerics_class;
  const JobRequest& request = plans_.at(decision.attempt.job).request;
  if (request.fenced && decision.numerics_class != job.numerics_class) {
    Break(name + ": in another numerics class");
  }
  const std::uint32_t ranks = request.ranks;
  if (decision.placement.size() != ranks) Break(name + ": is not the whole gang");
  for (const WorkerName& worker : decision.placement) {
    if (drained_.contains(worker)) Break(name + ": starts on the drained " + worker);
  }
  attempts_[decision.attempt] = {decision.placement, now, decision.numerics_class, -1};
  CheckLimits(decision);
}

void Referee::CheckLimits(const Decision& started) {
  const std::string& owner = plans_.at(started.attempt.job).request.owner;
  const OwnerLimits& limits = limits_[owner];
  const Load load = LoadOf(owner);
  const std::string name = Name(started.attempt);
  if (limits.disabled) Break(name + ": starts although its owner is disabled");
  if (limits.running > 0 && load.running > limits.running) {
    Break(name + ": one running job too many");
  }
  if (limits.slots > 0 && load.slots > limits.slots)
    Break(name + ": more slots than its owner may have");
}

Referee::Load Referee::LoadOf(const std::string& owner) const {
  Load load;
  for (const auto& [id, job] : jobs_) {
    const JobRequest& request = plans_.at(id).request;
    if (!job.live || request.owner != owner) continue;
    ++load.running;
    load.slots += request.ranks;
    load.helpers += job.helpers;
  }
  return load;
}

void Referee::OnHelpers(const std::map<AttemptId, Helpers>& all) {
  for (auto& [id, job] : jobs_) job.helpers = 0;
  for (const auto& [attempt, helpers] : all) {
    jobs_.at(attempt.job).helpers = static_cast<std::uint32_t>(helpers.size());
  }
  for (const auto& [attempt, helpers] : all) CheckHelpers(attempt, helpers);
}

void Referee::CheckHelpers(const AttemptId& attempt, const Helpers& helpers) {
  const Seen& job = jobs_.at(attempt.job);
  const std::string name = Name(attempt);
  if (!job.live || attempt.number != job.newest) Break(name + ": has helpers but is not live");
  const JobRequest& request = plans_.at(attempt.job).request;
  for (std::uint32_t rank = 0; rank < request.ranks; ++rank) {
    if (!started_.contains({attempt, rank})) Break(name + ": has helpers before all its ranks");
  }
  if (helpers.size() > request.helpers) Break(name + ": has more helpers than it asked for");
  for (const auto& [number, helper] : helpers) {
    const RankId id{attempt, number};
    if (number < request.ranks) Break(Name(id) + ": is a helper by the number of a rank");
    if (drained_.contains(helper.worker)) Break(Name(id) + ": helps on a drained worker");
    const auto place = helpers_.emplace(id, helper.worker).first;
    if (place->second != helper.worker) Break(Name(id) + ": was another helper's number");
  }
  const OwnerLimits& limits = limits_[request.owner];
  const Load load = LoadOf(request.owner);
  if (limits.slots > 0 && load.slots + load.helpers > limits.slots) {
    Break(name + ": has helpers beyond its owner's limit");
  }
}

void Referee::OnHelperLives(const RankId& helper, Millis now) {
  const auto attempt = attempts_.find(helper.attempt);
  if (attempt == attempts_.end() || attempt->second.ended_at < 0) return;
  constexpr Millis kLateMost = 12'000;
  if (now > std::max(attempt->second.ended_at, kFaultsEndMs) + kLateMost) {
    Break(Name(helper) + ": lives long after its attempt's end");
  }
}

// Nobody is ended for time that was not used, and nobody gets much more than there is: an attempt
// is ended while the coordinator is there, and starts with what is left.
void Referee::CheckTimeLimit(const Decision& decision, const Seen& job) {
  const JobRequest& request = plans_.at(decision.attempt.job).request;
  const std::string name = Name(decision.attempt);
  const bool for_time = decision.reason.find("time limit of") == 0;
  if (for_time && request.time_limit_ms == 0) Break(name + ": has no time limit to reach");
  if (for_time && job.used_ms < request.time_limit_ms - request.warning_ms) {
    Break(name + ": was ended for time after " + std::to_string(job.used_ms) + " of " +
          std::to_string(request.time_limit_ms) + " ms");
  }
  constexpr Millis kLateMost = 200;
  if (request.time_limit_ms > 0 && job.used_ms > request.time_limit_ms + job.away_ms + kLateMost) {
    Break(name + ": ran for " + std::to_string(job.used_ms) + " ms, over its limit of " +
          std::to_string(request.time_limit_ms));
  }
}

void Referee::OnEnded(const Decision& decision, Seen& job, Millis now) {
  const std::string name = Name(decision.attempt);
  if (job.live) job.used_ms += now - job.live_since;
  CheckTimeLimit(decision, job);
  if (decision.attempt.number != job.newest) Break(name + ": ends but is not the newest");
  job.live = false;
  if (decision.attempt.number > 0) attempts_[decision.attempt].ended_at = now;
  // "rank 3 on w-1 ..."
  if (const auto blamed = decision.reason.find("rank "); blamed != std::string::npos) {
    const auto number = static_cast<std::uint32_t>(std::atol(&decision.reason[blamed + 5]));
    if (IsHelper(plans_, {decision.attempt, number})) {
      Break(name + ": ended because of a helper: " + decision.reason);
    }
  }
  if (decision.kind == Decision::Kind::kAttemptEnded) {
    if (decision.reason.empty()) Break(name + ": ended without a reason");
    const bool counted = decision.failures > job.failures || decision.retries > job.retries;
    if (decision.exit == ExitKind::kStopped && counted) {
      Break(name + ": counts as a failure although it was asked to move");
    }
    const std::uint32_t ranks = plans_.at(decision.attempt.job).request.ranks;
    for (std::uint32_t rank = 0; decision.exit == ExitKind::kSuccess && rank < ranks; ++rank) {
      if (!succeeded_.contains({decision.attempt, rank})) {
        Break(name + ": succeeded before its rank " + std::to_string(rank));
      }
    }
    job.failures = decision.failures;
    job.retries = decision.retries;
    return;
  }
  job.final_state = decision.state;
  job.infrastructure = decision.infrastructure;
  job.reason = decision.reason;
  const JobPlan& plan = plans_.at(decision.attempt.job);
  if (decision.state == JobState::kSucceeded && job.checkpoint != plan.steps_total) {
    Break(name + ": succeeded without its last checkpoint");
  }
  if (job.cancel_acknowledged && decision.state != JobState::kCancelled) {
    Break(name + ": an acknowledged cancellation was undone");
  }
  if (!job.cancel_acknowledged && plan.cancel_at < 0 && decision.state == JobState::kCancelled) {
    Break(name + ": cancelled by nobody");
  }
}

void Referee::OnAccepted(const Commit& commit) {
  Seen& job = jobs_.at(commit.rank.attempt.job);
  const std::string name = Name(commit.rank);
  if (commit.rank.attempt.number < job.newest) Break(name + ": committed after its replacement");
  if (job.final_state) Break(name + ": committed after the job's end");
  if (!commit.checkpoint) return;
  if (job.any_checkpoint && commit.step < job.checkpoint) Break(name + ": checkpoint goes back");
  job.checkpoint = commit.step;
  job.failures = job.retries = 0;
  job.any_checkpoint = true;
}

void Referee::OnRankStarts(const RankId& rank, const WorkerName& worker) {
  const auto attempt = attempts_.find(rank.attempt);
  const bool helps = IsHelper(plans_, rank);
  const auto helper = helpers_.find(rank);
  if (attempt == attempts_.end() || (helps ? helper == helpers_.end() || helper->second != worker
                                           : attempt->second.placement.at(rank.rank) != worker)) {
    return Break(Name(rank) + ": starts on " + worker + " but nobody has put it there");
  }
  helpers_started_ += helps ? 1 : 0;
  const auto& [numerics_class, memory_mib] = workers_.at(worker);
  const bool anywhere = helps && plans_.at(rank.attempt.job).request.helpers_anywhere;
  if (!anywhere && numerics_class != attempt->second.numerics_class) {
    Break(Name(rank) + ": starts in another numerics class than its attempt");
  }
  if (memory_mib < plans_.at(rank.attempt.job).request.memory_mib_per_rank) {
    Break(Name(rank) + ": starts in a slot that is too small");
  }
  if (!started_.insert(rank).second) Break(Name(rank) + ": starts a second time");
}

void Referee::OnObeyed(const WorkerName& worker, std::size_t unreleased, std::uint32_t slots) {
  if (unreleased > slots) {
    Break(worker + ": " + std::to_string(unreleased) + " ranks on " + std::to_string(slots) +
          " slots");
  }
}

void Referee::OnLeftBehind(const RankId& rank, const WorkerName& worker) {
  Break(Name(rank) + ": the job ended while it was still on " + worker);
}

void Referee::OnView(JobId job, const JobView& view) {
  const bool may_be_silent = view.state == JobState::kRunning || view.state == JobState::kSucceeded;
  if (!may_be_silent && view.reason.empty()) {
    Break("job " + std::to_string(job) + ": no reason is given");
  }
  const auto& final_state = jobs_.at(job).final_state;
  if (final_state && view.state != *final_state) {
    Break("job " + std::to_string(job) + ": shown in another state than it ended in");
  }
}

bool Referee::Ended(JobId job) const {
  const auto seen = jobs_.find(job);
  return seen != jobs_.end() && seen->second.final_state.has_value();
}

bool Referee::AllEnded() const {
  for (const auto& [id, plan] : plans_) {
    if (!Ended(id)) return false;
  }
  return true;
}

void Referee::CheckVerdicts() {
  for (const auto& [id, plan] : plans_) {
    const Seen& job = jobs_.at(id);
    if (job.final_state == JobState::kCancelled) continue;
    const bool hopeless = plan.fate == Fate::kSameStep || plan.fate == Fate::kNoProgress;
    // That it was asked to stop for its limit counts for a failure too.
    const bool for_time = job.reason.find("time limit of") != std::string::npos;
    if (job.final_state == JobState::kFailed && for_time && plan.request.time_limit_ms > 0)
      continue;
    const JobState deserved = hopeless ? JobState::kFailed : JobState::kSucceeded;
    if (job.final_state != deserved || job.infrastructure) {
      Break("job " + std::to_string(id) + ": ended with a verdict that it does not deserve: " +
            (job.reason.empty() ? "success" : job.reason));
    }
  }
}

std::optional<Millis> Referee::StartedAt(const AttemptId& attempt) const {
  const auto found = attempts_.find(attempt);
  if (found == attempts_.end()) return std::nullopt;
  return found->second.at;
}

}  // namespace muster::sim
