#include "coordinator/scheduler/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace muster {
namespace {

constexpr std::size_t kOlderIncarnationsMax = 8;

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

Scheduler::Scheduler(SchedulerOptions options, Millis now) : options_(options), now_(now) {
  MUSTER_CHECK(options.epoch > 0, "epoch 0 would be older than an agent that obeyed nothing");
}

void Scheduler::Restore(const RestoredJob& restored, Millis now) {
  const JobId id = restored.request.id;
  MUSTER_CHECK(!Knows(id), "job restored twice");
  now_ = now;
  if (IsFinal(restored.state)) {
    JobView view{restored.state,          restored.reason,   restored.attempt,       {},
                 restored.numerics_class, restored.failures, restored.infrastructure};
    for (const WorkerName& worker : restored.placement) {
      view.ranks.push_back({worker, RankPhase::kExited, 0});
    }
    ended_.emplace(id, std::move(view));
    return;
  }
  MUSTER_CHECK(!restored.attempt_live || restored.placement.size() == restored.request.ranks,
               "a live attempt has a worker for each rank");
  Job& job = active_[id];
  job.request = restored.request;
  job.owner = &owners_[job.request.owner];
  job.cancelled = restored.cancelled;
  job.running = restored.state == JobState::kRunning;
  job.restored = restored.attempt_live;
  job.attempt = restored.attempt;
  job.numerics_class = restored.numerics_class;
  job.failures = restored.failures;
  job.retries = restored.retries;
  job.failed_step = restored.failed_step;
  job.failed_reason = restored.failed_reason;
  job.succeeded = restored.succeeded && !restored.attempt_live;
  job.last = restored.last && !restored.attempt_live;
  job.infrastructure = restored.infrastructure;
  job.reason = restored.reason;
  if (job.reason.empty() && job.cancelled) job.reason = "cancelled";
  job.ended_at = job.live_since = now;
  job.used_ms = restored.used_ms;
  if (!restored.placement.empty()) {
    job.stage = restored.attempt_live ? scheduling::Stage::kLive : scheduling::Stage::kReleasing;
  }
  NumberHelpers(job);
  for (const WorkerName& name : restored.placement) {
    const auto rank = static_cast<std::uint32_t>(job.ranks.size());
    job.ranks.push_back({.worker = name});
    const auto [entry, is_new] = workers_.try_emplace(name);
    if (is_new) entry->second.last_seen = now;
    entry->second.holds[{{id, job.attempt}, rank}] = {.desired = restored.attempt_live,
                                                      .last_asked = {options_.epoch, 0}};
  }
  touched_.insert(id);
}

void Scheduler::RestoreWorker(const WorkerName& name, std::uint32_t slots, Millis now,
                              const std::string& numerics_class) {
  Worker& worker = workers_[name];
  MUSTER_CHECK(worker.incarnation.empty(), "workers are restored before they report");
  worker.slots = slots;
  worker.numerics_class = numerics_class;
  worker.last_seen = now;
}

void Scheduler::Submit(const JobRequest& request) {
  MUSTER_CHECK(request.ranks > 0, "admission lets no empty job through");
  MUSTER_CHECK(!Knows(request.id), "job ids are never reused");
  MUSTER_CHECK(request.helpers == 0 || request.fenced, "nobody waits for a helper's end");
  Job& job = active_[request.id];
  job.request = request;
  job.owner = &owners_[request.owner];
}

void Scheduler::SetLimits(const std::string& owner, const OwnerLimits& limits) {
  owners_[owner].limits = limits;
}

void Scheduler::Cancel(JobId id, const std::string& reason, Millis now) {
  now_ = now;
  const auto job = active_.find(id);
  if (job == active_.end() || job->second.cancelled) return;
  job->second.cancelled = true;
  job->second.reason = reason.empty() ? "cancelled" : reason;
  touched_.insert(id);
}

bool Scheduler::AllowNewNumerics(JobId id) {
  const auto found = active_.find(id);
  if (found == active_.end() || found->second.attempt == 0) return false;
  if (found->second.stage == scheduling::Stage::kLive) return false;
  found->second.numerics_class.clear();
  return true;
}

void Scheduler::SetDrain(const WorkerName& name, const Drain& drain, Millis now) {
  const auto [worker, is_new] = workers_.try_emplace(name);
  if (is_new) worker->second.last_seen = now;
  worker->second.drain = drain;
}

bool Scheduler::EndDrain(const WorkerName& name) {
  const auto worker = workers_.find(name);
  if (worker == workers_.end() || !worker->second.drain) return false;
  worker->second.drain.reset();
  return true;
}

void Scheduler::OnCheckpoint(AttemptId attempt, std::uint64_t /*step*/) {
  if (!MayCommit(attempt)) return;
  Job& job = active_.at(attempt.job);
  job.failures = 0;
  job.retries = 0;
}

// Takes up a worker that is new, was restarted, or was lost. False: the word of an older
// incarnation, or of one that cannot be told from it while another one reports.
bool Scheduler::Join(Worker& worker, const WorkerName& name, const WorkerReport& report) {
  const bool same = worker.incarnation == report.incarnation;
  if (same && !worker.lost) return true;
  if (!same && !worker.lost && !worker.incarnation.empty()) {
    if (worker.connected || Contains(worker.older, report.incarnation)) return false;
  }
  // A rank is only ever placed on an incarnation that has obeyed an answer, so one that has obeyed
  // none cannot be the one that ran the ranks known from before the coordinator's restart.
  const bool restarted = worker.incarnation.empty() ? report.obeyed == AnswerNumber{} : !same;
  if (restarted) {
    std::set<RankId> undrained;
    for (const RankReport& rank : report.ranks) {
      if (!rank.drained) undrained.insert(rank.id);
    }
    LoseRanks(worker, "the agent of worker " + name + " was restarted", undrained);
  }
  if (!same && !worker.incarnation.empty()) {
    worker.older.push_back(worker.incarnation);
    if (worker.older.size() > kOlderIncarnationsMax) worker.older.erase(worker.older.begin());
  }
  std::erase(worker.older, report.incarnation);
  worker.incarnation = report.incarnation;
  worker.lost = false;
  worker.ready = false;
  worker.joined = {options_.epoch, answers_};
  worker.last_answer = worker.joined;
  changed_.insert(name);
  return true;
}

void Scheduler::OnReport(const WorkerReport& report, Millis now) {
  now_ = now;
  Worker& worker = workers_[report.worker];
  if (!Join(worker, report.worker, report)) return;
  worker.connected = true;
  worker.last_seen = now;
  worker.slots = report.slots;
  worker.memory_mib_per_slot = report.memory_mib_per_slot;
  worker.numerics_class = report.numerics_class;
  worker.leaving = report.leaving;
  for (const RankReport& rank : report.ranks) TakeRank(report.worker, worker, rank);
  ReleaseObeyed(worker, report);
  if (report.obeyed > worker.joined) worker.ready = true;
  // An answer may have been lost on its way: give another.
  if (report.obeyed < worker.last_answer) changed_.insert(report.worker);
}

Scheduler::Rank* Scheduler::Current(const RankId& id) {
  const auto job = active_.find(id.attempt.job);
  if (job == active_.end() || job->second.attempt != id.attempt.number) return nullptr;
  return id.rank < job->second.ranks.size() ? &job->second.ranks[id.rank] : nullptr;
}

void Scheduler::TakeRank(const WorkerName& name, Worker& worker, const RankReport& report) {
  const auto hold = worker.holds.find(report.id);
  if (hold != worker.holds.end()) {
    hold->second.released |= report.released;
  } else if (!report.released) {
    // Left over from before the worker was lost or the coordinator restarted: the next answer ends
    // it, its slot is taken until then.
    worker.holds[report.id].last_asked = {options_.epoch, answers_};
    changed_.insert(name);
  }
  Rank* rank = Current(report.id);
  if (rank == nullptr || rank->worker != name) return TakeHelper(name, report);
  if (report.phase == RankPhase::kExited && !rank->Exited()) {
    rank->exit = report.exit;
    rank->exit_reason = report.exit_reason;
    rank->exit_step = report.exit_step;
    rank->exit_code = report.exit_code;
  }
  rank->phase = std::max(rank->phase, report.phase);
  if (report.pid != 0) rank->pid = report.pid;
  if (report.save_ms > 0) rank->save_ms = report.save_ms;
  rank->step_ms = std::max(rank->step_ms, report.step_ms);
  if (rank->Exited()) {
    rank->released |= report.released;
    rank->drained |= report.released && report.drained;
    // Heard of again: it lives on whatever this report was answered with.
    if (rank->may_live_until > 0) {
      rank->may_live_until = report.released ? 0 : OrphansEndBy(now_);
    }
  }
  touched_.insert(report.id.attempt.job);
}

// A worker that has obeyed an answer without a rank never starts it again, so once it says no more
// of it, nothing is left.
void Scheduler::ReleaseObeyed(Worker& worker, const WorkerReport& report) {
  std::set<RankId> listed;
  for (const RankReport& rank : report.ranks) listed.insert(rank.id);
  for (auto hold = worker.holds.begin(); hold != worker.holds.end();) {
    const auto& [id, state] = *hold;
    if (state.desired || report.obeyed <= state.last_asked || listed.contains(id)) {
      ++hold;
      continue;
    }
    if (Rank* rank = Current(id); rank != nullptr && rank->worker == report.worker) {
      rank->released = rank->drained = true;
      rank->may_live_until = 0;
      touched_.insert(id.attempt.job);
    }
    hold = worker.holds.erase(hold);
  }
}

void Scheduler::LoseRanks(Worker& worker, const std::string& reason,
                          const std::set<RankId>& undrained) {
  for (const auto& [id, hold] : std::exchange(worker.holds, {})) {
    Rank* rank = Current(id);
    if (rank == nullptr) {
      LoseHelper(id);
      continue;
    }
    const Job& job = active_.at(id.attempt.job);
    // What it has done stands only if nothing else is missing: then the attempt's end is journaled
    // before any answer. Otherwise a restarted coordinator would want the rank again.
    const bool job_done = job.succeeded || (job.stage == scheduling::Stage::kLive &&
                                            (job.AllSucceeded() || job.AllStopped()));
    if (!job_done && (!rank->Exited() || rank->Succeeded() || rank->Stopped())) {
      rank->phase = RankPhase::kExited;
      rank->exit = ExitKind::kInfrastructure;
      rank->exit_reason = reason;
    }
    const bool proven = job.request.fenced || (rank->released && rank->may_live_until == 0);
    rank->released = true;
    rank->drained = rank->drained || !undrained.contains(id);
    if (!proven) {
      // It holds its slot, when the worker comes back, until a report made after this leaves it
      // out or says that it is released.
      rank->may_live_until = std::max(rank->may_live_until, OrphansEndBy(worker.last_seen));
      worker.holds[id] = {.last_asked = {options_.epoch, answers_}};
      touched_.insert(id.attempt.job);
      continue;
    }
    // Its successor still forwards what the rank has written: heard of until it is drained.
    if (!rank->drained) worker.holds[id] = {.released = true, .last_asked = {options_.epoch, 0}};
    touched_.insert(id.attempt.job);
  }
}

void Scheduler::OnDisconnect(const WorkerName& name, const std::string& incarnation) {
  const auto worker = workers_.find(name);
  if (worker != workers_.end() && worker->second.incarnation == incarnation) {
    worker->second.connected = false;
  }
}

void Scheduler::OnPause(Millis pause_ms) {
  MUSTER_CHECK(pause_ms >= 0, "time goes forward");
  for (auto& [name, worker] : workers_) worker.last_seen += pause_ms;
}

void Scheduler::Tick(Millis now) {
  now_ = now;
  for (auto& [name, worker] : workers_) {
    const Millis silence_ms = now - worker.last_seen;
    if (worker.lost || silence_ms <= options_.worker_timeout_ms) continue;
    worker.lost = true;
    worker.ready = false;
    LoseRanks(worker,
              "worker " + name + " has been silent for " + std::to_string(silence_ms) + " ms", {});
  }
  CheckTimes(now);
  for (const JobId id : std::exchange(touched_, {})) Advance(id, now);
  std::optional<scheduling::Pools> pools;
  PlaceWaiting(pools, now);
  PlaceHelpers(pools, now);
}

std::vector<Decision> Scheduler::TakeDecisions() { return std::exchange(decisions_, {}); }

std::set<WorkerName> Scheduler::TakeChanged() { return std::exchange(changed_, {}); }

Answer Scheduler::AnswerFor(const WorkerName& name) {
  Answer answer{.number = {options_.epoch, ++answers_}};
  const auto worker = workers_.find(name);
  if (worker == workers_.end()) return answer;
  worker->second.last_answer = answer.number;
  answer.incarnation = worker->second.incarnation;
  for (const auto& [id, hold] : worker->second.holds) {
    if (!hold.desired) continue;
    answer.desired.push_back(id);
    const auto job = active_.find(id.attempt.job);
    if (job == active_.end()) continue;
    if (job->second.stopping || !job->second.moving.empty()) answer.stopping.insert(id.attempt);
  }
  return answer;
}

}  // namespace muster
