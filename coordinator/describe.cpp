// What people and Prometheus are shown of jobs and workers.
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "coordinator/clock.h"
#include "coordinator/coordinator.h"
#include "wire/policy_rules.h"

namespace muster::coordinator {

v1::RankInfo Coordinator::DescribePlace(const Job& job, std::uint32_t rank,
                                        const WorkerName& worker) {
  v1::RankInfo info;
  info.set_rank(rank);
  info.set_worker(worker);
  const std::uint32_t lanes = job.spec.lanes() / std::max(job.spec.resources().ranks(), 1U);
  for (std::uint32_t lane = 0; lane < lanes; ++lane) info.add_lanes(rank * lanes + lane);
  return info;
}

v1::JobInfo Coordinator::Describe(Job& job) {
  v1::JobInfo info;
  const JournaledJob& journaled = job.journaled;
  info.set_id(job.id());
  info.set_name(job.spec.name());
  info.set_owner(journaled.owner);
  info.set_attempt(journaled.restored.attempt);
  info.set_submitted_ms(journaled.submitted_ms);
  info.set_started_ms(journaled.started_ms);
  info.set_ended_ms(journaled.ended_ms);
  info.set_steps_total(job.steps_total);
  info.set_numerics_class(journaled.restored.numerics_class);
  std::set<std::string> classes;
  for (const JournaledAttempt& attempt : journaled.attempts) {
    if (!attempt.numerics_class.empty() && classes.insert(attempt.numerics_class).second) {
      info.add_numerics_classes(attempt.numerics_class);
    }
  }
  constexpr std::size_t kAttemptsShown = 10;
  const auto& attempts = journaled.attempts;
  for (std::size_t i = attempts.size() - std::min(attempts.size(), kAttemptsShown);
       i < attempts.size(); ++i) {
    v1::AttemptInfo& entry = *info.add_attempts();
    entry.set_attempt(attempts[i].number);
    entry.set_started_ms(attempts[i].started_ms);
    entry.set_ended_ms(attempts[i].ended_ms);
    entry.set_resume_step(attempts[i].resume_step);
    entry.set_reason(attempts[i].reason);
  }
  *info.mutable_spec() = job.spec;
  info.set_not_repeatable(wire::WhyNotRepeatable(job.spec));
  JobState state = journaled.restored.state;
  std::string reason = journaled.restored.reason;
  bool infrastructure = journaled.infrastructure;
  if (!job.ended()) {
    const JobView view = scheduler_.View(job.id());
    state = view.state;
    reason = view.reason;
    infrastructure = view.infrastructure;
    info.set_failures(view.failures);
    if (!view.ranks.empty()) job.ranks.clear();
    for (std::uint32_t rank = 0; rank < view.ranks.size(); ++rank) {
      job.ranks.push_back(DescribePlace(job, rank, view.ranks[rank].worker));
      job.ranks.back().set_pid(view.ranks[rank].pid);
    }
    for (const auto& [number, helper] : view.helpers) {
      v1::RankInfo& entry = *info.add_rollout_workers();
      entry.set_rank(number);
      entry.set_worker(helper.worker);
      entry.set_pid(helper.pid);
    }
  }
  info.set_state(static_cast<v1::JobState>(static_cast<int>(state) + 1));
  // It computes, and what it computes is kept by its workers only.
  const std::string& waits = job.checkpoint_waits.empty() ? job.records_wait : job.checkpoint_waits;
  info.set_reason(state == JobState::kRunning ? waits : reason);
  info.set_infrastructure(infrastructure);
  if (journaled.exit_code && state == JobState::kFailed) info.set_exit_code(*journaled.exit_code);
  for (const v1::RankInfo& rank : job.ranks) {
    *info.add_ranks() = rank;
    if (job.ended()) info.mutable_ranks()->rbegin()->set_pid(0);
  }
  for (const JournaledCheckpoint& checkpoint : journaled.checkpoints) {
    v1::CheckpointInfo& entry = *info.add_checkpoints();
    entry.set_step(checkpoint.step);
    entry.set_sha256(checkpoint.sha256);
    entry.set_attempt(checkpoint.attempt);
    entry.set_bytes(checkpoint.bytes);
  }
  jobs_.LoadMetrics(job);
  // Rows and reports come by different ways.
  info.set_steps_done(std::max(job.steps_done, job.metrics_step()));
  for (const auto& [name, value] : job.last_metrics) (*info.mutable_last_metrics())[name] = value;
  return info;
}

v1::JobInfo Coordinator::DescribeHidden(const Job& job) const {
  v1::JobInfo info;
  info.set_id(job.id());
  info.set_state(static_cast<v1::JobState>(static_cast<int>(scheduler_.View(job.id()).state) + 1));
  info.mutable_spec()->mutable_resources()->set_ranks(job.spec.resources().ranks());
  info.set_reason("of another user");
  return info;
}

void Coordinator::UpdateGauges() {
  const Millis now = SteadyMillis();
  if (now - gauges_at_ < 1'000) return;
  gauges_at_ = now;
  // Lock files can be removed: two coordinators must not go on side by side.
  Must(journal_->CheckOwner());
  std::map<JobState, double> counts;
  for (auto& [id, job] : jobs_.all()) {
    ++counts[job.ended() ? job.journaled.restored.state : scheduler_.View(id).state];
  }
  for (int state = 0; state <= static_cast<int>(JobState::kCancelled); ++state) {
    metrics_.SetJobs(v1::JobState_Name(static_cast<v1::JobState>(state + 1)).substr(10),
                     counts[static_cast<JobState>(state)]);
  }
  metrics_.SetQueueLength(counts[JobState::kQueued]);
  double total = 0, used = 0, age_ms = 0;
  for (const WorkerView& worker : scheduler_.Workers()) {
    if (worker.lost) continue;
    total += worker.slots;
    used += worker.slots_used;
    age_ms = std::max(age_ms, static_cast<double>(now - worker.last_seen));
  }
  metrics_.SetSlots("used", used);
  metrics_.SetSlots("free", total - used);
  metrics_.SetHeartbeatAge(age_ms / 1'000);
}

}  // namespace muster::coordinator
