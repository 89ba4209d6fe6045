// Watches a simulated cluster from outside and says which promise it broke first.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/sim_types.h"

namespace muster::sim {

class Referee {
 public:
  explicit Referee(const JobPlans& plans) : plans_(plans) {}

  // Empty while every promise holds.
  const std::string& broken() const { return broken_; }
  void Break(const std::string& what);

  // From now on.
  void WorkerIs(const WorkerName& worker, const std::string& numerics_class,
                std::uint64_t memory_mib_per_slot) {
    workers_[worker] = {numerics_class, memory_mib_per_slot};
  }

  // A job is submitted or a cancellation acknowledged: both are in the journal by then.
  void OnSubmitted(JobId job) { jobs_[job]; }
  void OnCancelAcknowledged(JobId job);
  // In the journal. An owner's live attempts, and their ranks, are never more than that when one
  // starts.
  void OnLimits(const std::string& owner, const OwnerLimits& limits) { limits_[owner] = limits; }
  // In the journal. Nothing starts on a drained worker; what has to move for it counts as no
  // failure.
  void OnDrain(const WorkerName& worker, bool drained);
  // In the journal: the job's next attempt may be of any class.
  void OnNewNumericsAllowed(JobId job) { jobs_.at(job).numerics_class.clear(); }
  // Nobody ends attempts for another `step_ms`.
  void OnCoordinatorAway(Millis step_ms);
  // In the journal, in this order. An attempt starts once, after the one before it has ended, with
  // the next number, in the job's one numerics class unless another is allowed. A job ends once.
  void OnJournaled(const Decision& decision, Millis now);
  // No commit counts once a replacement is in the journal or the job has ended; checkpoints never
  // go back.
  void OnAccepted(const Commit& commit);
  // Before a rank starts: it is where the journal says, on a worker of the attempt's class with
  // enough memory, and no rank ever starts twice.
  void OnRankStarts(const RankId& rank, const WorkerName& worker);
  // All that the coordinator wants beside attempts, before it tells anybody: nothing unless that is
  // live and every rank of it has started, no more than was asked for and than its owner's gangs
  // leave, nothing on a drained worker; a number is one place for ever.
  using Helpers = std::map<std::uint32_t, RankView>;
  void OnHelpers(const std::map<AttemptId, Helpers>& all);
  // Has not been released at `now`. When all is well none outlives its attempt for long.
  void OnHelperLives(const RankId& helper, Millis now);
  // A job succeeds when every rank of its newest attempt has.
  void OnRankSucceeded(const RankId& rank) { succeeded_.insert(rank); }
  // Right after a worker has obeyed an answer. Unreleased ranks, wanted or not, never outnumber
  // its slots: the answer leaves room for what still has to go.
  void OnObeyed(const WorkerName& worker, std::size_t unreleased, std::uint32_t slots);
  // A job ended while `worker`, which is not lost, still had `rank`.
  void OnLeftBehind(const RankId& rank, const WorkerName& worker);
  void OnView(JobId job, const JobView& view);

  bool Ended(JobId job) const;
  bool AllEnded() const;
  // Every job's verdict is what its plan deserves; call when all have ended.
  void CheckVerdicts();

  std::optional<Millis> StartedAt(const AttemptId& attempt) const;
  std::uint64_t helpers_started() const { return helpers_started_; }

 private:
  struct Seen {
    std::uint32_t newest = 0;
    bool live = false;
    bool cancel_acknowledged = false;
    std::optional<JobState> final_state;
    bool infrastructure = false;
    std::string reason;
    std::string numerics_class;
    std::uint32_t failures = 0;
    std::uint32_t retries = 0;
    Millis live_since = 0;
    Millis used_ms = 0;  // By attempts that have ended.
    Millis away_ms = 0;  // Of the coordinator, while an attempt was live.
    std::uint64_t checkpoint = 0;
    bool any_checkpoint = false;
    std::uint32_t helpers = 0;
  };
  struct Started {
    std::vector<WorkerName> placement;
    Millis at = 0;
    std::string numerics_class;
    Millis ended_at = -1;  // Has not.
  };
  void OnStarted(const Decision& decision, Seen& job, Millis now);
  void OnEnded(const Decision& decision, Seen& job, Millis now);
  void CheckTimeLimit(const Decision& decision, const Seen& job);
  void CheckLimits(const Decision& started);
  // By the job's owner: jobs with a live attempt, their ranks, helpers.
  struct Load {
    std::uint32_t running = 0, slots = 0, helpers = 0;
  };
  Load LoadOf(const std::string& owner) const;
  void CheckHelpers(const AttemptId& attempt, const Helpers& helpers);

  const JobPlans& plans_;
  std::string broken_;
  std::map<WorkerName, std::pair<std::string, std::uint64_t>> workers_;  // Class, memory.
  std::map<std::string, OwnerLimits> limits_;
  std::set<WorkerName> drained_;
  std::map<JobId, Seen> jobs_;
  std::map<AttemptId, Started> attempts_;
  std::set<RankId> started_, succeeded_;
  std::map<RankId, WorkerName> helpers_;  // Where they were wanted first.
  std::uint64_t helpers_started_ = 0;
};

std::string Name(const AttemptId& attempt);
std::string Name(const RankId& rank);

}  // namespace muster::sim
