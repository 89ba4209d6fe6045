// Learner: one update of a policy from the trajectories of all lanes. How, is the algorithm's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/status.h"
#include "tensor/thread_pool.h"
#include "trainer/lanes/lane_loop.h"
#include "trainer/model_state.h"
#include "trainer/rl/policy.h"
#include "trainer/rl/ppo_options.h"
#include "trainer/rl/rollout.h"

namespace muster::rl {

// Of a policy's update, over all lanes; losses are means over its minibatches or steps.
struct PolicyUpdate {
  double policy_loss = 0;
  double value_loss = 0;
  double entropy = 0;        // Nats.
  double approx_kl_k1 = 0;   // CleanRL's old_approx_kl.
  double approx_kl = 0;      // k3: (r - 1) - ln r.
  double clip_fraction = 0;  // PPO: of samples whose ratio was out of the clip range.
  double policy_lag = 0;     // Updates that the policy which acted lacks.
  double first_ratio_error =
      0;  // Largest |ratio - 1| of this rank's lanes before the first step: 0.
  double gradient_norm = 0;
  double explained_variance = 0;  // Of returns by values, before the update: 1 - Var(R - V)/Var(R).
  double advantage_mean = 0, value_mean = 0;  // Before normalisation.
  std::size_t epochs = 0;                     // PPO: that were done before target_kl.
  double forward_ms = 0, backward_ms = 0;     // Of the slowest block.
  double communication_ms = 0, optimizer_ms = 0;
};

// What changes from update to update.
struct UpdateRates {
  float learning_rate = 0;        // PPO's, or of VPG's policy.
  float clip_range = 0;           // PPO.
  float value_learning_rate = 0;  // VPG.
};

class Learner {
 public:
  virtual ~Learner() = default;
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;

  // Update `update`, counted from 0, by `trajectories` [local lanes], of this policy or of an older
  // one. Collective.
  // kFailedPrecondition where a loss or a gradient is not a number, on all ranks alike.
  virtual Result<PolicyUpdate> Update(std::uint64_t update, const UpdateRates& rates,
                                      std::span<const Trajectory* const> trajectories) = 0;

 protected:
  // All references must outlive it.
  Learner(const PpoOptions& options, const Policy& policy, LaneLoop& loop, ModelState& model,
          ThreadPool& pool);

  const PpoOptions& options_;
  const Policy& policy_;
  LaneLoop& loop_;
  ModelState& model_;
  ThreadPool& pool_;
};

// Of the options' algorithm. All references must outlive it.
std::unique_ptr<Learner> MakeLearner(const PpoOptions& options, const Policy& policy,
                                     LaneLoop& loop, ModelState& model, ThreadPool& pool);

// Steps the model's optimiser number `optimizer` by the gradients' sum over all lanes, and adds to
// the update's times. Returns the norm before clipping. Collective. `what` begins the error where
// it is not finite.
Result<double> StepModel(LaneLoop& loop, ModelState& model, ThreadPool& pool,
                         const std::string& what, float learning_rate, double clip_norm,
                         std::size_t optimizer, PolicyUpdate& update);

}  // namespace muster::rl
