// What the scheduler is told, what it decides, and what it answers.
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
  std::uint32_t rank = 0;  // From JobRequest::ranks on it is a helper's.
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
  kStopped,         // Asked to stop with a checkpoint, and did.
};

// What a worker says of one rank. `released` and `drained` matter once it has exited.
struct RankReport {
  RankId id;
  RankPhase phase = RankPhase::kStarting;
  std::int32_t pid = 0;
  ExitKind exit = ExitKind::kSuccess;
  std::string exit_reason;
  std::uint64_t exit_step = 0;
  bool released = false;                    // No process, shared memory or port of it is left.
  bool drained = false;                     // All its logs and metrics are stored.
  std::optional<std::int32_t> exit_code{};  // Of a program that failed.
  Millis save_ms = 0;  // From the start of its newest checkpoint until it was accepted; 0 = none.
  Millis step_ms = 0;  // Of its longest step.
};

// Everything a worker says at once: any one may be lost, late or doubled. A worker lists a rank
// until an answer no longer desires it and it is released (better: and drained); it reports at once
// when it has obeyed an answer that it was waiting for or a rank has changed.
struct WorkerReport {
  WorkerName worker;
  std::string incarnation;  // Of the agent process. A new one ended every rank of the old.
  std::uint32_t slots = 0;  // Ranks it can hold.
  std::string numerics_class;
  AnswerNumber obeyed;  // The newest answer it has applied.
  std::vector<RankReport> ranks;
  std::uint64_t memory_mib_per_slot = 0;
  bool leaving = false;  // Its agent was asked to end, and waits for its ranks' checkpoints.
};

// All that a worker should be running. It ignores an answer older than one it has applied, so a
// lost, late or repeated answer does no harm.
struct Answer {
  AnswerNumber number;
  std::vector<RankId> desired{};  // Ascending.
  // Of those: their ranks, not their helpers, are to stop with a checkpoint at the next step.
  std::set<AttemptId> stopping{};
  std::string incarnation{};  // Send it on no other's stream. Empty = not heard of: do not send.
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
// restores it. kAttemptEnded may come twice for one attempt: when a rank reports its own failure
// after a consequence of it (a lost peer) was seen, or the job is cancelled before its success is
// complete. The later one replaces the former.
struct Decision {
  enum class Kind : std::uint8_t {
    kAttemptStarted,  // `placement` and `numerics_class` are set.
    // `reason`; `exit` says whether it counts. kSuccess: all ranks succeeded, kJobEnded follows
    // once they are released and drained; until then the attempt may still commit its last metrics.
    // kStopped: all ranks stopped as they were asked to, so that the job goes on elsewhere; it
    // counts
    // as no failure. Otherwise the next attempt may follow.
    kAttemptEnded,
    kJobEnded,  // `state` is final; `infrastructure` tells exit code 5 from 1.
  };
  Kind kind = Kind::kAttemptStarted;
  AttemptId attempt{};
  std::vector<WorkerName> placement{};  // By rank.
  std::string numerics_class{};
  ExitKind exit = ExitKind::kSuccess;  // kInfrastructure also where a cancellation ended it.
  std::string reason{};    // For people: "rank 1 on w-2 failed after step 10: loss is NaN".
  std::string failure{};   // kOwnFailure: what the rank itself said, for RestoredJob.
  std::uint64_t step = 0;  // Where the attempt failed by its own fault.
  std::optional<std::int32_t> exit_code{};  // kOwnFailure: the program's that failed.
  JobState state = JobState::kQueued;
  bool infrastructure = false;
  // The job's counts once this decision holds; an accepted checkpoint sets both to 0.
  std::uint32_t failures = 0;
  std::uint32_t retries = 0;
  bool last = false;  // kAttemptEnded: none follows; kJobEnded does once its ranks are released.
};

struct JobRequest {
  JobId id = 0;
  std::uint32_t ranks = 1;
  std::uint32_t failures_max = 3;
  std::uint64_t memory_mib_per_rank = 0;  // No slot smaller than this holds one of its ranks.
  std::string owner{};                    // Whose limits hold for it.
  // False for a program of the user's: what it does cannot be refused afterwards, so no attempt
  // starts before the ranks of the one before it are known to have ended, or have been without
  // news for so long that they have ended themselves. Failing twice alike says nothing of it.
  bool fenced = true;
  Millis time_limit_ms = 0;  // While an attempt is live, over all of them; 0 = none.
  // So long before that its ranks are asked to stop; a recipe of Muster's earlier when its last
  // step and checkpoint took longer, but not before half of the limit. 0 = never.
  Millis warning_ms = 0;
  // Processes beside the ranks that its attempts can do without, each in a slot like a rank's: as
  // many as there are slots for that nobody waits for, at most so many. Only of what is fenced.
  std::uint32_t helpers = 0;
  bool helpers_anywhere = false;  // In slots of any numerics class, the ranks' own first.
};

// What the jobs of one owner may hold at a time; 0 = no limit. Looked at when an attempt starts:
// what runs when a limit is lowered runs on.
struct OwnerLimits {
  std::uint32_t running = 0;  // Jobs with an attempt that is live, or ended but not released.
  // Their ranks together. Helpers have what those leave of it, and give it up to a gang at once.
  std::uint32_t slots = 0;
  bool disabled = false;  // No job of this owner starts.
  bool operator==(const OwnerLimits&) const = default;
};

// A job as the journal remembers it.
struct RestoredJob {
  JobRequest request;
  JobState state = JobState::kQueued;
  bool cancelled = false;                    // A cancellation was acknowledged.
  std::uint32_t attempt = 0;                 // Newest started.
  bool attempt_live = false;                 // Started and not ended.
  std::vector<WorkerName> placement;         // Of the newest attempt, also when it has ended.
  std::string numerics_class;                // Its next attempt's; empty = any.
  std::uint32_t failures = 0;                // Own failures since the last checkpoint.
  std::uint32_t retries = 0;                 // Infrastructure failures since the last checkpoint.
  std::optional<std::uint64_t> failed_step;  // Of the last own failure.
  std::string failed_reason;                 // Its Decision::failure.
  bool succeeded = false;                    // The last kAttemptEnded had exit kSuccess.
  bool last = false;                         // Of the last kAttemptEnded.
  bool infrastructure = false;               // Of the last kAttemptEnded or kJobEnded.
  std::string reason;                        // Of the last decision, or of the cancellation.
  Millis used_ms = 0;                        // Of the time limit, up to now.
};

// A worker that is to run nothing.
struct Drain {
  std::string reason;      // Who, and why: "drained by ops: new kernel".
  Millis deadline_ms = 0;  // When what still runs there is ended all the same; 0 = never.
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
  std::map<std::uint32_t, RankView> helpers{};  // By their number, those that are wanted now.
};

struct WorkerView {
  WorkerName worker;
  bool lost = false;
  std::uint32_t slots = 0;
  std::uint32_t slots_used = 0;
  Millis last_seen = 0;
  bool leaving = false;
  std::optional<Drain> drain{};
};

}  // namespace muster
