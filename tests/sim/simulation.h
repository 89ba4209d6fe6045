// One simulated cluster: everything it does follows from a seed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/sim/referee.h"
#include "tests/sim/sim_agent.h"
#include "tests/sim/sim_coordinator.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_types.h"

namespace muster::sim {

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed, Bug bug = Bug::kNone);

  // Empty when every promise held, else the first that did not.
  std::string Run();
  std::uint64_t helpers_started() const { return referee_.helpers_started(); }

 private:
  void PlanJobs();
  void PlanLimits(std::uint64_t seed);
  void PlanDrains(std::uint64_t seed);
  void PlanHelpers(std::uint64_t seed);
  void AddWorkers(Bug bug);
  SimAgent::World WorldOf();
  void SendAnswer(const WorkerName& worker, const SimAnswer& answer, Millis now);
  void DeliverAnswer(std::size_t worker, const std::string& incarnation, const SimAnswer& answer,
                     Millis now);
  void SendReport(SimAgent& agent, const WorkerReport& report, Millis now);
  void SendCommit(SimAgent& agent, const Commit& commit, Millis now);
  void InjectFaults(Millis now);
  void ActAsUsers(Millis now);
  void LookForLeftovers(Millis now);
  void LookForTwins(Millis now);
  // Whether there is any.
  bool LookForHelpers(Millis now);

  SimRandom random_;
  JobPlans plans_;
  std::vector<LimitsPlan> limits_;
  std::vector<DrainPlan> drains_;                       // By time.
  std::vector<std::pair<std::size_t, Millis>> leaves_;  // Which agent is asked to end, when.
  Referee referee_;
  SimNetwork network_;
  std::vector<std::unique_ptr<SimAgent>> agents_;
  SimCoordinator coordinator_;
  Millis coordinator_back_at_ = 0;
  Millis isolated_from_ = -1;  // Never.
  WorkerName isolated_;        // Once it is.
  std::set<JobId> ended_;
};

}  // namespace muster::sim
