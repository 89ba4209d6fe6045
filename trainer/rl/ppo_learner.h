// PpoLearner: one update of proximal policy optimisation from the trajectories of all lanes.
// Source: Schulman et al., arXiv:1707.06347, algorithm 1; Huang et al., "The 37 implementation
// details of proximal policy optimization", ICLR blog track 2022.
//
//   values of the critic -> advantages (GAE) -> epochs x minibatches of
//     forward, losses, backward in every lane -> gradients summed over lanes -> Adam's step
//
// A minibatch takes as many samples from each lane, drawn by the lane's own random stream; its
// advantages are normalised by their moments over all lanes. For a policy with memory it takes
// whole environments, whose steps are gone through in order from the rollout's first on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "trainer/rl/estimates.h"
#include "trainer/rl/learner.h"

namespace muster::rl {

class PpoLearner final : public Learner {
 public:
  // All references must outlive it.
  PpoLearner(const PpoOptions& options, const Policy& policy, LaneLoop& loop, ModelState& model,
             ThreadPool& pool);
  ~PpoLearner() override;

  Result<PolicyUpdate> Update(std::uint64_t update, const UpdateRates& rates,
                              std::span<const Trajectory* const> trajectories) override;

 private:
  struct Lane;
  struct Work;

  void GatherPast(const Trajectory& trajectory, const Lane& lane,
                  std::span<const std::uint32_t> rows, Work& work) const;
  void Shuffle(std::uint64_t update, std::size_t global_lane, Lane& lane) const;
  void SumAdvantages(std::size_t local_lane, Lane& lane);
  void RunMinibatch(LaneLoop::Block& block, std::size_t local_lane, std::size_t minibatch,
                    const UpdateRates& rates, const Trajectory& trajectory);
  void Normalize(std::size_t minibatch, Work& work) const;
  Result<bool> BeyondTargetKl();
  Result<PolicyUpdate> Summarize(PolicyUpdate result);

  const Estimator estimator_;
  std::vector<Lane> lanes_;             // [local lanes]
  std::vector<Work> work_;              // [blocks]
  std::vector<double> advantage_sums_;  // [local lanes, epochs * minibatches, 2]; row 0 is of all.
  std::vector<double> scores_;          // [local lanes, sums]; row 0 ends as that of all.
  std::vector<double> kl_;              // [local lanes, 2], of the newest minibatch.
};

}  // namespace muster::rl
