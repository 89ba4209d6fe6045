// A worker agent and its rank processes, simulated.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "tests/sim/referee.h"
#include "tests/sim/sim_types.h"

namespace muster::sim {

// A rank process and what its agent knows of it. It steps in lockstep with its peers, rank 0
// commits the checkpoints and waits for each.
struct SimRank {
  RankId id;
  RankPhase phase = RankPhase::kStarting;
  std::uint64_t step = 0;
  std::uint64_t resume = 0;
  std::uint64_t fails_at = ~std::uint64_t{0};
  std::uint64_t accepted = 0;  // Newest accepted checkpoint, with any_accepted.
  bool any_accepted = false;
  Millis next_at = 0;
  Millis commit_at = 0;       // Earliest time to send the commit again.
  Millis waiting_since = -1;  // For a peer that is gone.
  Millis heard = 0;           // The coordinator has answered a report of its agent's made then.
  Millis ends_at = -1;        // Has done its last step. Of a helper: when it ends by itself.
  bool stopping = false;      // Is asked to stop with a checkpoint.
  ExitKind exit = ExitKind::kSuccess;
  std::string exit_reason{};
  Millis released_at = 0;
  Millis drained_at = 0;
  bool said_released = false;

  bool Exited() const { return phase == RankPhase::kExited; }
};

class SimAgent {
 public:
  // What an agent and its ranks see of the world.
  struct World {
    std::function<void(SimAgent&, const WorkerReport&, Millis)> send_report;
    std::function<void(SimAgent&, const Commit&, Millis)> send_commit;
    // Null when there is no such process within reach.
    std::function<const SimRank*(const RankId&, Millis)> find_peer;
  };

  SimAgent(SimMachine machine, Bug bug, SimRandom& random, Referee& referee, JobPlans& plans,
           World world);

  void Step(Millis now);
  void OnAnswer(const SimAnswer& answer, Millis now);
  void OnCommitAnswer(const Commit& commit, bool accepted, Millis now);
  void Crash(Millis now, Millis down_ms);
  void Pause(Millis until, bool ranks_too);
  // Asked to end: its ranks stop with a checkpoint, and what has not by then goes with it.
  void Leave(Millis now, Millis most_ms);
  void KillRank(Millis now);  // One at random, if there is any.

  const WorkerName& name() const { return machine_.name; }
  const SimMachine& machine() const { return machine_; }
  std::string incarnation() const;
  bool alive() const { return alive_; }
  // The agent process handles nothing until then.
  Millis paused_until() const { return paused_until_; }
  const SimRank* Find(const RankId& id, Millis now) const;
  const std::map<RankId, SimRank>& ranks() const { return ranks_; }
  static bool Unreleased(const SimRank& rank, Millis now) {
    return !rank.Exited() || now < rank.released_at;
  }

 private:
  void Restart(Millis now);
  void Report(Millis now);
  void StartRank(const RankId& id, std::uint64_t resume, Millis now);
  void Exit(SimRank& rank, ExitKind kind, const std::string& reason, Millis now);
  void StepRank(SimRank& rank, Millis now);
  void StepHelper(SimRank& helper, Millis now);
  bool AskedToStop(const SimRank& rank, Millis now) const;
  bool PeersHere(SimRank& rank, Millis now);
  bool Committed(SimRank& rank, const JobPlan& plan, bool stop, Millis now);
  void Forget(Millis now);

  SimMachine machine_;
  Bug bug_;
  SimRandom& random_;
  Referee& referee_;
  JobPlans& plans_;
  World world_;
  bool alive_ = true;
  bool lists_undrained_;  // Half of the agents report a rank until it is drained.
  Millis restart_at_ = 0;
  Millis leave_until_ = -1;  // Does not leave.
  Millis paused_until_ = 0;
  Millis ranks_paused_until_ = 0;
  Millis report_at_ = 0;
  std::uint32_t incarnations_ = 1;
  Millis answered_ = 0;  // Of its reports, the newest that was answered was made then.
  AnswerNumber obeyed_;
  std::set<RankId> desired_;
  std::map<RankId, SimRank> ranks_;
};

}  // namespace muster::sim
