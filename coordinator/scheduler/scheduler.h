// The scheduling decisions as a pure state machine: no clock, thread, socket or random source.
// The coordinator's event loop drives it in production, tests/sim drives it in simulated time.
//
// Safety is fencing: of a job's attempts only the current one may commit (checkpoints, metrics,
// verdicts, rendezvous), whatever processes of older ones still do. A decision that starts an
// attempt must be journaled before any answer that names it leaves.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace muster {

using Millis = std::int64_t;  // Since an arbitrary origin; never wall-clock time.
using WorkerName = std::string;
using JobId = std::uint64_t;

// One run of a job. A restart is a new attempt, so late reports about an old one are recognized.
struct AttemptId {
  JobId job = 0;
  std::uint32_t number = 0;  // From 1; 0 = the job has not run yet.
  auto operator<=>(const AttemptId&) const = default;
};

struct RankId {
  AttemptId attempt;
  std::uint32_t rank = 0;
  auto operator<=>(const RankId&) const = default;
};

// Orders answers, also across restarts of the coordinator: a later epoch is newer.
struct AnswerNumber {
  std::uint64_t epoch = 0;
  std::uint64_t n = 0;
  auto operator<=>(const AnswerNumber&) const = default;
};

enum class RankPhase : std::uint8_t { kStarting, kRunning, kExited };

enum class ExitKind : std::uint8_t {
  kSuccess,
  kOwnFailure,      // Reported by the rank itself: an error, a failed check, an exception.
  kInfrastructure,  // Killed, lost a peer, lost its agent: retried, never counts.
};

// What a worker says of one rank. `released` and `drained` matter once it has exited.
struct RankReport {
  RankId id;
  RankPhase phase = RankPhase::kStarting;
  std::int32_t pid = 0;
  ExitKind exit = ExitKind::kSuccess;
  std::string exit_reason;
  std::uint64_t exit_step = 0;
  bool released = false;  // No process, shared memory or port of it is left.
  bool drained = false;   // All its logs and metrics are stored.
};

// Everything a worker says at once: any one may be lost, late or doubled.
struct WorkerReport {
  WorkerName worker;
  std::string incarnation;  // Of the agent process. A new one ended every rank of the old.
  std::uint32_t slots = 0;  // Ranks it can hold.
  std::string numerics_class;
  AnswerNumber obeyed;  // The newest answer it has applied.
  std::vector<RankReport> ranks;
};

// All that a worker should be running. It ignores an answer older than one it has applied, so a
// lost, late or repeated answer does no harm.
struct Answer {
  AnswerNumber number;
  std::vector<RankId> desired;  // Ascending.
};

enum class JobState : std::uint8_t {
  kQueued,
  kStarting,
  kRunning,
  kSucceeded,
  kFailed,
  kCancelled
};
inline bool IsFinal(JobState state) { return state >= JobState::kSucceeded; }

// What must be journaled before answers leave. Each is a fact; replaying all of a job's in order
// restores it.
struct Decision {
  enum class Kind : std::uint8_t {
    kAttemptStarted,  // `placement` and `numerics_class` are set.
    kAttemptEnded,    // `reason`; `exit` says whether it counts. The next attempt may follow.
    kJobEnded,        // `state` is final; `infrastructure` tells exit code 5 from 1.
  };
  Kind kind = Kind::kAttemptStarted;
  AttemptId attempt;
  std::vector<WorkerName> placement;  // By rank.
  std::string numerics_class;
  ExitKind exit = ExitKind::kSuccess;
  std::string reason;
  std::uint64_t step = 0;  // Where the attempt failed by its own fault.
  JobState state = JobState::kQueued;
  bool infrastructure = false;
};

struct JobRequest {
  JobId id = 0;
  std::uint32_t ranks = 1;
  std::uint32_t failures_max = 3;
};

// A job as the journal remembers it.
struct RestoredJob {
  JobRequest request;
  JobState state = JobState::kQueued;
  bool cancelled = false;                    // A cancellation was acknowledged.
  std::uint32_t attempt = 0;                 // Newest started.
  bool attempt_live = false;                 // Started and not ended.
  std::vector<WorkerName> placement;         // Of the live attempt, by rank.
  std::string numerics_class;                // Of the first attempt; empty = none yet.
  std::uint32_t failures = 0;                // Own failures since the last checkpoint.
  std::uint32_t retries = 0;                 // Infrastructure failures since the last checkpoint.
  std::optional<std::uint64_t> failed_step;  // Of the last own failure.
  std::string failed_reason;
  std::string reason;
};

struct RankView {
  WorkerName worker;
  RankPhase phase = RankPhase::kStarting;
  std::int32_t pid = 0;
};

// What people are shown.
struct JobView {
  JobState state = JobState::kQueued;
  std::string reason;  // Never empty unless kRunning or kSucceeded.
  std::uint32_t attempt = 0;
  std::vector<RankView> ranks;  // Of the current attempt, by rank.
  std::string numerics_class;
  std::uint32_t failures = 0;
  bool infrastructure = false;
};

struct WorkerView {
  WorkerName worker;
  bool lost = false;
  std::uint32_t slots = 0;
  std::uint32_t slots_used = 0;
  Millis last_seen = 0;
};

struct SchedulerOptions {
  std::uint64_t epoch = 1;           // Of this coordinator: larger than any before it.
  Millis worker_timeout_ms = 3'000;  // Silence after which a worker counts as lost.
  Millis backoff_first_ms = 500;     // Before the second retry; doubles. The first is immediate.
  Millis backoff_max_ms = 30'000;
  std::uint32_t retries_max = 50;  // Infrastructure failures in a row without a checkpoint.
};

class Scheduler {
 public:
  Scheduler(SchedulerOptions options, Millis now);

  // Once per job before anything else, after a restart of the coordinator. Workers of live
  // attempts have `worker_timeout_ms` from `now` to report before they count as lost.
  void Restore(const RestoredJob& job, Millis now);
  // A worker known from before the restart: its slots count for what could ever fit.
  void RestoreWorker(const WorkerName& worker, std::uint32_t slots, Millis now);

  void Submit(const JobRequest& request);
  // Journaled by the caller. The job ends once its ranks are released or their workers lost.
  // No effect on a job that has ended.
  void Cancel(JobId job, const std::string& reason, Millis now);
  // A checkpoint of the current attempt was accepted: failure counts start anew.
  void OnCheckpoint(AttemptId attempt, std::uint64_t step);
  void OnReport(const WorkerReport& report, Millis now);
  // Declares silent workers lost, ends attempts, places waiting jobs, oldest first, all ranks or
  // none. Call after every event and at least every 100 ms.
  void Tick(Millis now);

  // Decisions since the last call, in order. Journal them before using AnswerFor.
  std::vector<Decision> TakeDecisions();
  // Numbered anew at every call. Desired: the live attempts' ranks on this worker.
  Answer AnswerFor(const WorkerName& worker);
  // Workers whose desired state has changed since the last call.
  std::set<WorkerName> TakeChanged();

  // True while `attempt` is its job's newest, live one: only then may it commit anything.
  bool MayCommit(AttemptId attempt) const;
  // The most ranks that all known workers of one numerics class could hold; 0 = none known.
  std::uint32_t LargestGang() const;
  JobView View(JobId job) const;
  bool Knows(JobId job) const;
  std::vector<WorkerView> Workers() const;
  // False: another incarnation of this worker reported within the timeout; refuse this one.
  bool MayRegister(const WorkerName& worker, const std::string& incarnation, Millis now) const;
};

}  // namespace muster
