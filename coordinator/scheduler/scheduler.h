// The scheduling decisions as a pure state machine: no clock, thread, socket or random source.
// The coordinator's event loop drives it in production, tests/sim drives it in simulated time.
//
// Safety is fencing: of a job's attempts only the current one may commit (checkpoints, metrics,
// verdicts, rendezvous), whatever processes of older ones still do. A decision that starts an
// attempt must be journaled before any answer that names it leaves.
//
// The queue is first in, first out by id. A job that the workers here could hold but not now keeps
// every younger one from the numerics classes that it could use; one that they could not hold, or
// that waits for its back-off, keeps nobody. One that its owner's limits hold back keeps at most
// that owner's younger ones.
//
// Helpers are no part of it: they get what is left after the queue has been looked at, and nothing
// that is decided about jobs and attempts looks at them (ADR 17).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/scheduler/placement.h"
#include "coordinator/scheduler/state.h"
#include "coordinator/scheduler/types.h"

namespace muster {

struct SchedulerOptions {
  std::uint64_t epoch = 1;           // Of this coordinator: larger than any before it.
  Millis worker_timeout_ms = 3'000;  // Silence after which a worker counts as lost.
  Millis backoff_first_ms = 500;     // Before the second retry; doubles. The first is immediate.
  Millis backoff_max_ms = 30'000;
  std::uint32_t retries_max = 50;  // Infrastructure failures in a row without a checkpoint.
  // When a rank that hears nothing of the coordinator ends itself, counted from when the newest
  // report that was answered was made; and how long it may take over it, with all that it started.
  Millis orphan_timeout_ms = 600'000;
  Millis orphan_margin_ms = 30'000;
};

// `now` never decreases from call to call. One thread at a time.
class Scheduler {
 public:
  Scheduler(SchedulerOptions options, Millis now);

  // Once per job before anything else, after a restart of the coordinator. Workers of unended jobs
  // have `worker_timeout_ms` from `now` to report before they count as lost.
  void Restore(const RestoredJob& job, Millis now);
  // A worker known from before the restart: its slots count for what could ever fit.
  void RestoreWorker(const WorkerName& worker, std::uint32_t slots, Millis now,
                     const std::string& numerics_class = {});

  // A new id and at least one rank. Journaled by the caller.
  void Submit(const JobRequest& request);
  // Journaled by the caller. The job ends once its ranks are released or their workers lost.
  // No effect on a job that has ended. The attempt may not commit from here on.
  void Cancel(JobId job, const std::string& reason, Millis now);
  // From now on; journaled by the caller, and told before the jobs are restored or submitted.
  void SetLimits(const std::string& owner, const OwnerLimits& limits);
  // A job whose numerics class has gone may go on in another one: its bits then depend on that,
  // too. Journaled by the caller. False, and without effect, before its first attempt, while one is
  // live, and once the job has ended.
  bool AllowNewNumerics(JobId job);
  // From now on no rank is placed on the worker. Jobs with a rank there are asked to stop with a
  // checkpoint and go on elsewhere, which counts as no failure; a job that cannot be asked (a
  // program of the user's) runs on. At the deadline what is left is ended. Journaled by the caller.
  void SetDrain(const WorkerName& worker, const Drain& drain, Millis now);
  // False when it was not drained.
  bool EndDrain(const WorkerName& worker);
  bool KnowsWorker(const WorkerName& worker) const { return workers_.contains(worker); }
  // A checkpoint of the current attempt was accepted: failure counts start anew.
  void OnCheckpoint(AttemptId attempt, std::uint64_t step);
  // Ignored from another incarnation than the last one while that one is neither lost nor has been
  // named to OnDisconnect: only then is it known which of the two is the newer.
  void OnReport(const WorkerReport& report, Millis now);
  // The worker's stream ended: its next incarnation may register at once. Its ranks are presumed
  // to run on until it is silent for too long.
  void OnDisconnect(const WorkerName& worker, const std::string& incarnation);
  // The coordinator itself stood still for `pause_ms` until now: nobody's silence counts then.
  // Before the reports that came meanwhile and before Tick.
  void OnPause(Millis pause_ms);
  // Declares silent workers lost, ends attempts, places waiting jobs, oldest first, all ranks or
  // none, then helpers. Call after every event and at least every 100 ms.
  void Tick(Millis now);

  // Decisions since the last call, in order. Journal them before using AnswerFor.
  std::vector<Decision> TakeDecisions();
  // Numbered anew at every call. Desired: the live attempts' ranks and helpers on this worker.
  Answer AnswerFor(const WorkerName& worker);
  // Workers whose desired state has changed since the last call, or whose reports show that they
  // have not obeyed their newest answer: each needs one from AnswerFor.
  std::set<WorkerName> TakeChanged();

  // True while `attempt` is its job's newest, live one: only then may it commit anything.
  bool MayCommit(AttemptId attempt) const;
  // The most ranks of this size that all known workers of one numerics class could hold; workers
  // that have not reported since a restart count whatever the size.
  std::uint32_t LargestGang(std::uint64_t memory_mib_per_rank = 0) const;
  JobView View(JobId job) const;
  bool Knows(JobId job) const;
  std::vector<WorkerView> Workers() const;
  // False: another incarnation of this worker reported within the timeout, and its stream has not
  // ended; refuse this one.
  bool MayRegister(const WorkerName& worker, const std::string& incarnation, Millis now) const;

 private:
  using Job = scheduling::Job;
  using Rank = scheduling::Rank;
  using Worker = scheduling::Worker;

  bool Join(Worker& worker, const WorkerName& name, const WorkerReport& report);
  void TakeRank(const WorkerName& name, Worker& worker, const RankReport& report);
  void ReleaseObeyed(Worker& worker, const WorkerReport& report);
  // Every rank on the worker is gone or beyond reach; `undrained` = still listed by its successor.
  void LoseRanks(Worker& worker, const std::string& reason, const std::set<RankId>& undrained);
  // What time alone changes: limits are reached, ranks beyond reach have ended by now.
  void CheckTimes(Millis now);
  // When nothing is left of a rank whose worker was last heard of at `heard`.
  Millis OrphansEndBy(Millis heard) const {
    return heard + options_.orphan_timeout_ms + options_.orphan_margin_ms;
  }
  void CheckTimeLimit(JobId id, Job& job, Millis now);
  void EndForTime(Job& job, Millis now);
  void AskToMove(Job& job, Millis now);
  void EndMoved(Job& job, Millis now);
  Rank* Current(const RankId& id);

  void Advance(JobId id, Millis now);
  void AdvanceLive(Job& job, Millis now);
  void EndAttempt(Job& job, const Rank* failed, Millis now);
  void Conclude(Job& job, Millis now);
  void CountFailure(Job& job, const Rank& failed);
  void Withdraw(Job& job);
  void Undesire(const RankId& id, const WorkerName& name);
  void EndJob(JobId id, JobState state, const std::string& reason);
  // Fills `pools` if there is anybody to place.
  void PlaceWaiting(std::optional<scheduling::Pools>& pools, Millis now);
  static bool HeldBack(Job& job);
  void StartAttempt(Job& job, const std::vector<WorkerName>& placement,
                    const std::string& numerics_class);
  Millis Backoff(const Job& job) const;
  Decision Ended(const Job& job) const;

  // After PlaceWaiting, of whose round `pools` are.
  void PlaceHelpers(std::optional<scheduling::Pools>& pools, Millis now);
  void YieldHelpers(Job& job, const scheduling::Pools& pools);
  void PlaceHelper(Job& job, scheduling::Pools& pools, Millis now);
  void PlaceHelperIn(Job& job, scheduling::Pool& pool, const WorkerName& name, Millis now);
  bool IsAwaited(const scheduling::Pool& pool) const;
  void NumberHelpers(Job& job) const;
  void TakeHelper(const WorkerName& name, const RankReport& report);
  void LoseHelper(const RankId& id);
  void WithdrawHelpers(Job& job);

  std::string Reason(const Job& job) const;
  std::string WaitReason(const Job& job) const;
  std::string NoFitReason(const Job& job) const;

  SchedulerOptions options_;
  Millis now_ = 0;  // Of the last event.
  std::uint64_t answers_ = 0;
  std::map<JobId, Job> active_;
  std::map<JobId, JobView> ended_;                   // Cost nothing but memory.
  std::map<std::string, scheduling::Owner> owners_;  // Jobs point into it.
  std::map<WorkerName, Worker> workers_;
  std::set<JobId> touched_;  // For Advance at the next Tick.
  std::set<WorkerName> changed_;
  std::vector<Decision> decisions_;
};

}  // namespace muster
