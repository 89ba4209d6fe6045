// VpgLearner: one update of vanilla policy gradient.
// Source: Williams, "Simple statistical gradient-following algorithms for connectionist
// reinforcement learning", 1992 (REINFORCE); Schulman et al., arXiv:1506.02438, for the advantages;
// steps and defaults as in OpenAI's Spinning Up, "Vanilla policy gradient".
//
//   values of the critic -> advantages (GAE) and whole returns
//   -> one step of the policy on - log p(action) advantage, by its own Adam
//   -> value_steps steps of the critic on its half squared error, by another
//
// Every step is over the whole batch of all lanes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/rl/estimates.h"
#include "trainer/rl/learner.h"

namespace muster::rl {

class VpgLearner final : public Learner {
 public:
  // The optimisers of ModelState that the two networks have.
  static constexpr std::size_t kPolicyOptimizer = 0, kValueOptimizer = 1;

  // `options.vpg` is set; actor and critic share no parameters. All references must outlive it.
  VpgLearner(const PpoOptions& options, const Policy& policy, LaneLoop& loop, ModelState& model,
             ThreadPool& pool);
  ~VpgLearner() override;

  Result<PolicyUpdate> Update(std::uint64_t update, const UpdateRates& rates,
                              std::span<const Trajectory* const> trajectories) override;

 private:
  struct Work;

  void RunPolicy(LaneLoop::Block& block, std::size_t local_lane, const Trajectory& trajectory);
  void RunValues(LaneLoop::Block& block, std::size_t local_lane, const Trajectory& trajectory);
  void SumRatios(LaneLoop::Block& block, std::size_t local_lane, const Trajectory& trajectory);

  const Estimator estimator_;
  std::vector<Estimates> lanes_;       // [local lanes]
  std::vector<Work> work_;             // [blocks]
  std::vector<double> estimate_sums_;  // [local lanes, kEstimateSums]; row 0 ends as that of all.
  std::vector<double> scores_;         // [local lanes, sums]; the same.
};

}  // namespace muster::rl
