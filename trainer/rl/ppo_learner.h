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

#include "base/status.h"
#include "tensor/thread_pool.h"
#include "trainer/lanes/lane_loop.h"
#include "trainer/model_state.h"
#include "trainer/rl/policy.h"
#include "trainer/rl/ppo_options.h"
#include "trainer/rl/rollout.h"

namespace muster::rl {

// Of a policy's update, over all lanes; means over its minibatches unless said otherwise.
struct PpoUpdate {
  double policy_loss = 0;
  double value_loss = 0;
  double entropy = 0;        // Nats.
  double approx_kl_k1 = 0;   // CleanRL's old_approx_kl.
  double approx_kl = 0;      // k3: (r - 1) - ln r.
  double clip_fraction = 0;  // Of samples whose ratio was out of the clip range.
  double policy_lag = 0;     // Updates that the policy which acted lacks.
  double first_ratio_error =
      0;  // Largest |ratio - 1| of this rank's lanes before the first step: 0.
  double gradient_norm = 0;
  double explained_variance = 0;  // Of returns by values, before the update: 1 - Var(R - V)/Var(R).
  double advantage_mean = 0, value_mean = 0;  // Before normalisation.
  std::size_t epochs = 0;                     // That were done before target_kl.
  double forward_ms = 0, backward_ms = 0;     // Of the slowest block.
  double communication_ms = 0, optimizer_ms = 0;
};

// What changes from update to update.
struct PpoRates {
  float learning_rate = 0;
  float clip_range = 0;
};

class PpoLearner {
 public:
  // All references must outlive it.
  PpoLearner(const PpoOptions& options, const Policy& policy, LaneLoop& loop, ModelState& model,
             ThreadPool& pool);
  ~PpoLearner();

  // Update `update`, counted from 0, by `trajectories` [local lanes], of this policy or of an older
  // one. Collective.
  // kFailedPrecondition where a loss or a gradient is not a number, on all ranks alike.
  Result<PpoUpdate> Update(std::uint64_t update, const PpoRates& rates,
                           std::span<const Trajectory* const> trajectories);

 private:
  struct Lane;
  struct Work;

  void Estimate(LaneLoop::Block& block, const Trajectory& trajectory, Lane& lane);
  void Replay(LaneLoop::Block& block, const Trajectory& trajectory, Lane& lane);
  void ValuesOf(LaneLoop::Block& block, std::span<const float> features, const Past& past,
                std::span<float> values);
  // Probability of each action now by that of the policy that took it.
  void Ratios(LaneLoop::Block& block, const Trajectory& trajectory, Lane& lane);
  std::size_t RowsAtOnce(const Trajectory& trajectory) const;
  Past PastOf(const Trajectory& trajectory, const Lane& lane, std::size_t first,
              std::size_t rows) const;
  void GatherPast(const Trajectory& trajectory, const Lane& lane,
                  std::span<const std::uint32_t> rows, Work& work) const;
  void Shuffle(std::uint64_t update, std::size_t global_lane, Lane& lane) const;
  void SumAdvantages(std::size_t local_lane, Lane& lane);
  void RunMinibatch(LaneLoop::Block& block, std::size_t local_lane, std::size_t minibatch,
                    const PpoRates& rates, const Trajectory& trajectory);
  void Normalize(std::size_t minibatch, Work& work) const;
  Status StepModel(std::uint64_t update, std::size_t minibatch, const PpoRates& rates,
                   PpoUpdate& result);
  Result<bool> BeyondTargetKl();
  Result<PpoUpdate> Summarize(PpoUpdate result);

  const PpoOptions& options_;
  const Policy& policy_;
  LaneLoop& loop_;
  ModelState& model_;
  ThreadPool& pool_;
  std::vector<Lane> lanes_;             // [local lanes]
  std::vector<Work> work_;              // [blocks]
  std::vector<double> advantage_sums_;  // [local lanes, epochs * minibatches, 2]; row 0 is of all.
  std::vector<double> scores_;          // [local lanes, sums]; row 0 ends as that of all.
  std::vector<double> kl_;              // [local lanes, 2], of the newest minibatch.
};

}  // namespace muster::rl
