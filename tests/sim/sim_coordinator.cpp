#include "tests/sim/sim_coordinator.h"

#include <utility>

namespace muster::sim {

void SimCoordinator::Start(Millis now) {
  if (bug_ != Bug::kReuseEpoch || journal_.epoch == 0) ++journal_.epoch;
  ++generation_;
  SchedulerOptions options;
  options.epoch = journal_.epoch;
  options.orphan_timeout_ms = kOrphanTimeoutMs;
  options.orphan_margin_ms = kOrphanMarginMs;
  heard_.clear();
  answered_.clear();
  to_answer_.clear();
  answers_all_ = random_.PerMille(300);
  scheduler_ = std::make_unique<Scheduler>(options, now);
  for (const auto& [name, worker] : journal_.workers) {
    // Half of the restarts know no classes, as after an upgrade of the journal.
    scheduler_->RestoreWorker(name, worker.first, now,
                              random_.PerMille(500) ? worker.second : std::string());
  }
  if (bug_ != Bug::kForgetLimits) {
    for (const auto& [owner, limits] : journal_.limits) scheduler_->SetLimits(owner, limits);
  }
  if (bug_ != Bug::kForgetDrains) {
    for (const auto& [name, drain] : journal_.drains) scheduler_->SetDrain(name, drain, now);
  }
  for (const auto& [id, job] : journal_.jobs) scheduler_->Restore(Remember(job, now), now);
  for (const auto& [id, job] : journal_.jobs) {
    if (!scheduler_->Knows(id)) referee_.Break("a journaled submission was lost");
  }
}

RestoredJob SimCoordinator::Remember(RestoredJob job, Millis now) const {
  if (job.attempt_live) job.used_ms += now - journal_.live_since.at(job.request.id);
  if (bug_ == Bug::kForgetUsedTime) job.used_ms = 0;
  if (bug_ == Bug::kForgetUnfenced) job.request.fenced = true;
  if (bug_ == Bug::kForgetCancellation) job.cancelled = false;
  if (bug_ == Bug::kForgetNumerics) job.numerics_class.clear();
  if (bug_ == Bug::kForgetMemory) job.request.memory_mib_per_rank = 0;
  if (bug_ == Bug::kForgetAttemptNumber) {
    job.attempt = 0;
    job.attempt_live = false;
    job.placement.clear();
  }
  if (bug_ == Bug::kForgetAttemptEnd && job.attempt > 0) job.attempt_live = true;
  if (bug_ == Bug::kForgetEndedPlacement && !job.attempt_live) job.placement.clear();
  return job;
}

bool SimCoordinator::Dies(Millis now, std::uint32_t per_mille) {
  if (now >= kFaultsEndMs || !random_.PerMille(per_mille)) return false;
  Crash();
  return true;
}

bool SimCoordinator::Submit(const JobRequest& request, Millis now) {
  if (!alive()) return false;
  if (journal_.jobs.contains(request.id)) return true;  // The same request again.
  journal_.jobs[request.id] = {.request = request,
                               .placement = {},
                               .numerics_class = {},
                               .failed_step = {},
                               .failed_reason = {},
                               .reason = {}};
  referee_.OnSubmitted(request.id);
  if (Dies(now, 50)) return false;
  scheduler_->Submit(request);
  return true;
}

bool SimCoordinator::Cancel(JobId id, Millis now) {
  if (!alive() || !journal_.jobs.contains(id)) return false;
  RestoredJob& job = journal_.jobs.at(id);
  if (IsFinal(job.state)) return true;
  job.cancelled = true;
  job.reason = "cancelled by its owner";
  if (Dies(now, 100)) return false;
  scheduler_->Cancel(id, job.reason, now);
  referee_.OnCancelAcknowledged(id);
  return true;
}

bool SimCoordinator::SetLimits(const std::string& owner, const OwnerLimits& limits, Millis now) {
  if (!alive()) return false;
  journal_.limits[owner] = limits;
  referee_.OnLimits(owner, limits);
  if (Dies(now, 100)) return false;
  scheduler_->SetLimits(owner, limits);
  return true;
}

bool SimCoordinator::SetDrain(const WorkerName& worker, bool drained, Millis deadline_ms,
                              Millis now) {
  if (!alive()) return false;
  referee_.OnDrain(worker, drained);
  if (drained) {
    journal_.drains[worker] = {"drained by ops", deadline_ms};
  } else {
    journal_.drains.erase(worker);
  }
  if (Dies(now, 100)) return false;
  if (drained) {
    scheduler_->SetDrain(worker, journal_.drains[worker], now);
  } else {
    static_cast<void>(scheduler_->EndDrain(worker));
  }
  return true;
}

void SimCoordinator::AllowNewNumerics(JobId id, Millis now) {
  if (!alive() || !scheduler_->Knows(id)) return;
  const std::string reason = scheduler_->View(id).reason;
  if (reason.find("--allow-new-numerics") == std::string::npos) return;
  if (!scheduler_->AllowNewNumerics(id)) {
    return referee_.Break("a job that waits for its class may not be given another");
  }
  journal_.jobs.at(id).numerics_class.clear();
  referee_.OnNewNumericsAllowed(id);
  static_cast<void>(Dies(now, 100));
}

void SimCoordinator::OnReport(const WorkerReport& report, Millis made, Millis now) {
  if (!alive()) return;
  // One that may not register is not answered. (The scheduler is told all the same: it copes.)
  if (scheduler_->MayRegister(report.worker, report.incarnation, now)) {
    heard_[report.worker] = {report.incarnation, made};
    to_answer_.insert(report.worker);
  }
  journal_.workers[report.worker] = {report.slots, report.numerics_class};
  scheduler_->OnReport(report, now);
  if (random_.PerMille(500)) Pump(now);  // Otherwise several events meet one Tick.
}

void SimCoordinator::OnDisconnect(const WorkerName& worker, const std::string& incarnation) {
  if (alive()) scheduler_->OnDisconnect(worker, incarnation);
}

std::optional<bool> SimCoordinator::OnCommit(const Commit& commit, Millis now) {
  if (!alive()) return std::nullopt;
  const AttemptId attempt = commit.rank.attempt;
  if (!scheduler_->MayCommit(attempt) && bug_ != Bug::kAcceptEveryCommit) return false;
  std::uint64_t& newest = journal_.checkpoints[attempt.job];
  // Doubled or overtaken by a later one of the same attempt: it has been accepted.
  const bool known =
      commit.checkpoint && commit.step < newest && journal_.resume[attempt] <= commit.step;
  if (commit.checkpoint && !known) {
    newest = commit.step;
    RestoredJob& job = journal_.jobs.at(attempt.job);
    job.failures = job.retries = 0;
  }
  referee_.OnAccepted({commit.rank, commit.step, commit.checkpoint && !known});
  if (Dies(now, 5)) return std::nullopt;
  if (commit.checkpoint && !known) scheduler_->OnCheckpoint(attempt, commit.step);
  return true;
}

void SimCoordinator::Pump(Millis now) {
  if (!alive()) return;
  scheduler_->Tick(now);
  std::set<WorkerName> lost;
  for (const WorkerView& worker : scheduler_->Workers()) {
    if (!worker.lost) continue;
    lost_at_[worker.worker] = now;
    lost.insert(worker.worker);
  }
  const std::vector<Decision> decisions = scheduler_->TakeDecisions();
  if (bug_ == Bug::kAnswerBeforeJournal) Answers(now);
  if (!decisions.empty() && Dies(now, 30)) return;  // Decided, never happened.
  for (const Decision& decision : decisions) Write(decision, now);
  if (!decisions.empty() && Dies(now, 30)) return;  // Happened, nobody was told.
  ShowHelpers(lost);
  if (bug_ != Bug::kAnswerBeforeJournal) Answers(now);
  if (decisions.empty()) return;
  for (const auto& [id, job] : journal_.jobs) {
    if (scheduler_->Knows(id)) referee_.OnView(id, scheduler_->View(id));
  }
}

void SimCoordinator::ShowHelpers(const std::set<WorkerName>& lost) {
  std::map<AttemptId, Referee::Helpers> helpers;
  std::set<std::string> helped, awaited;  // Numerics classes.
  for (const auto& [id, job] : journal_.jobs) {
    if (!scheduler_->Knows(id)) continue;
    const JobView view = scheduler_->View(id);
    if (view.reason.find("free and ready") != std::string::npos && job.request.fenced) {
      awaited.insert(view.numerics_class);
    }
    if (view.helpers.empty()) continue;
    helpers[{id, view.attempt}] = view.helpers;
    for (const auto& [number, helper] : view.helpers) {
      helped.insert(journal_.workers[helper.worker].second);
      if (lost.contains(helper.worker)) referee_.Break("a helper on a lost worker counts as there");
    }
  }
  for (const std::string& one : awaited) {
    if (helped.contains(one)) referee_.Break("helpers are where a job waits for slots");
  }
  referee_.OnHelpers(helpers);
}

void SimCoordinator::Write(const Decision& decision, Millis now) {
  RestoredJob& job = journal_.jobs.at(decision.attempt.job);
  job.failures = decision.failures;
  job.retries = decision.retries;
  switch (decision.kind) {
    case Decision::Kind::kAttemptStarted:
      job.attempt = decision.attempt.number;
      job.attempt_live = true;
      journal_.live_since[decision.attempt.job] = now;
      job.placement = decision.placement;
      job.numerics_class = decision.numerics_class;
      journal_.resume[decision.attempt] = journal_.checkpoints[decision.attempt.job];
      break;
    case Decision::Kind::kAttemptEnded:
      if (job.attempt_live) job.used_ms += now - journal_.live_since[decision.attempt.job];
      job.attempt_live = false;
      job.succeeded = decision.exit == ExitKind::kSuccess;
      job.last = decision.last;
      job.infrastructure = decision.infrastructure;
      if (!job.cancelled) job.reason = decision.reason;
      if (decision.exit == ExitKind::kOwnFailure) {
        job.failed_step = decision.step;
        job.failed_reason = decision.failure;
      }
      break;
    case Decision::Kind::kJobEnded:
      job.attempt_live = false;
      job.state = decision.state;
      job.reason = decision.reason;
      job.infrastructure = decision.infrastructure;
      break;
  }
  referee_.OnJournaled(decision, now);
}

void SimCoordinator::Answers(Millis now) {
  std::set<WorkerName> workers = scheduler_->TakeChanged();
  const std::set<WorkerName> heard_of = std::exchange(to_answer_, {});
  for (const WorkerName& worker : heard_of) {
    if (answers_all_) workers.insert(worker);
    const Heard& heard = heard_[worker];
    if (workers.contains(worker) || heard.incarnation != answered_[worker]) continue;
    send_(worker, {{.number = {}, .incarnation = heard.incarnation}, {}, heard.made}, now);
  }
  for (const WorkerName& worker : workers) {
    SimAnswer answer{scheduler_->AnswerFor(worker), {}};
    answered_[worker] = answer.answer.incarnation;
    const Heard& heard = heard_[worker];
    if (heard.incarnation == answer.answer.incarnation) answer.asked = heard.made;
    for (const RankId& rank : answer.answer.desired) {
      answer.resume.push_back(journal_.resume[rank.attempt]);
    }
    send_(worker, answer, now);
  }
}

Millis SimCoordinator::LostAt(const WorkerName& worker) const {
  const auto found = lost_at_.find(worker);
  return found == lost_at_.end() ? -1 : found->second;
}

}  // namespace muster::sim
