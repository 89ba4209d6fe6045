#include "trainer/rl/learner.h"

#include <cmath>
#include <string>

#include "nn/optim/gradient_norm.h"
#include "trainer/rl/ppo_learner.h"
#include "trainer/rl/vpg_learner.h"
#include "trainer/training_run.h"

namespace muster::rl {

Learner::Learner(const PpoOptions& options, const Policy& policy, LaneLoop& loop, ModelState& model,
                 ThreadPool& pool)
    : options_(options), policy_(policy), loop_(loop), model_(model), pool_(pool) {}

std::unique_ptr<Learner> MakeLearner(const PpoOptions& options, const Policy& policy,
                                     LaneLoop& loop, ModelState& model, ThreadPool& pool) {
  if (options.vpg) return std::make_unique<VpgLearner>(options, policy, loop, model, pool);
  return std::make_unique<PpoLearner>(options, policy, loop, model, pool);
}

Result<double> StepModel(LaneLoop& loop, ModelState& model, ThreadPool& pool,
                         const std::string& what, float learning_rate, double clip_norm,
                         std::size_t optimizer, PolicyUpdate& update) {
  Stopwatch watch;
  MUSTER_ASSIGN_OR_RETURN(const std::span<float> gradients, loop.ReducedGradients());
  update.communication_ms += watch.lap_ms();
  MUSTER_ASSIGN_OR_RETURN(const double norm, model.GradientNorm(gradients, &pool));
  if (!std::isfinite(norm)) {
    return FailedPrecondition(what + ": the gradient's norm is " + std::to_string(norm) +
                              "; a lower learning_rate or normalised rewards may help");
  }
  nn::OptimizerStep step;
  step.learning_rate = learning_rate;
  step.gradient_scale = nn::ClipScale(norm, clip_norm);
  MUSTER_RETURN_IF_ERROR(model.Step(step, gradients, &pool, optimizer));
  update.optimizer_ms += watch.lap_ms();
  return norm;
}

}  // namespace muster::rl
