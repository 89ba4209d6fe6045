#include "trainer/rl/vpg_learner.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/ppo_loss.h"
#include "trainer/training_run.h"

namespace muster::rl {
namespace {

// Columns of an update's sums over lanes.
enum VpgSum : std::size_t { kVpgLoss, kVpgValueLoss, kVpgEntropy, kVpgKlK1, kVpgKlK3, kVpgSums };

}  // namespace

struct VpgLearner::Work {
  double forward_ms = 0, backward_ms = 0;
  double ratio_error = 0;
};

VpgLearner::VpgLearner(const PpoOptions& options, const Policy& policy, LaneLoop& loop,
                       ModelState& model, ThreadPool& pool)
    : Learner(options, policy, loop, model, pool),
      estimator_(options, policy, loop),
      lanes_(loop.local_lanes()),
      work_(loop.blocks()),
      estimate_sums_(loop.local_lanes() * kEstimateSums),
      scores_(loop.local_lanes() * kVpgSums) {}

VpgLearner::~VpgLearner() = default;

// The gradient of the mean of - log p(action) advantage, less the entropy's bonus.
void VpgLearner::RunPolicy(LaneLoop::Block& block, std::size_t local_lane,
                           const Trajectory& trajectory) {
  Stopwatch watch;
  Estimates& lane = lanes_[local_lane];
  Work& work = work_[block.index()];
  const std::size_t rows = trajectory.rows();
  if (options_.normalize_advantages) {
    NormalizeAdvantages(estimate_sums_[kAdvantages], estimate_sums_[kAdvantageSquares],
                        estimate_sums_[kRowCount], lane.advantages);
  }
  Tape& tape = loop_.BeginStep(block, local_lane, model_.values());
  const Tensor x = tape.Input({rows, policy_.features()}, trajectory.features.data());
  const LogProbsAndEntropy taken = policy_.LogProbs(tape, policy_.Act(tape, x), trajectory.actions);
  for (std::size_t i = 0; i < rows; ++i) {
    const double log_ratio = static_cast<double>(taken.log_probs.data()[i]) -
                             static_cast<double>(trajectory.log_probs[i]);
    work.ratio_error = std::max(work.ratio_error, std::abs(std::expm1(log_ratio)));
  }
  const float scale = 1.0F / static_cast<float>(options_.batch_size());
  const Tensor gains = ops::Sum(
      tape, ops::Multiply(tape, taken.log_probs, tape.Input({rows}, lane.advantages.data())));
  const Tensor entropy = ops::Sum(tape, taken.entropy);
  Tensor loss = ops::Scale(tape, gains, -scale);
  if (options_.entropy_coefficient != 0) {
    loss = ops::Add(tape, loss, ops::Scale(tape, entropy, -options_.entropy_coefficient * scale));
  }
  work.forward_ms += watch.lap_ms();
  tape.Backward(loss);
  work.backward_ms += watch.lap_ms();
  double* const scores = scores_.data() + local_lane * kVpgSums;
  scores[kVpgLoss] -= static_cast<double>(gains.data()[0]);
  scores[kVpgEntropy] += static_cast<double>(entropy.data()[0]);
}

void VpgLearner::RunValues(LaneLoop::Block& block, std::size_t local_lane,
                           const Trajectory& trajectory) {
  Stopwatch watch;
  const Estimates& lane = lanes_[local_lane];
  Work& work = work_[block.index()];
  const std::size_t rows = trajectory.rows();
  Tape& tape = loop_.BeginStep(block, local_lane, model_.values());
  const Tensor x = tape.Input({rows, policy_.features()}, trajectory.features.data());
  const Tensor values = ops::Reshape(tape, policy_.Values(tape, x), {rows});
  const ops::ValueLossResult loss = ops::ValueLoss(
      tape, values, lane.returns, {}, 1.0F / static_cast<float>(options_.batch_size()));
  work.forward_ms += watch.lap_ms();
  tape.Backward(loss.loss);
  work.backward_ms += watch.lap_ms();
  scores_[local_lane * kVpgSums + kVpgValueLoss] += loss.score.loss_sum;
}

// How far the step has moved the policy.
void VpgLearner::SumRatios(LaneLoop::Block& block, std::size_t local_lane,
                           const Trajectory& trajectory) {
  Estimates& lane = lanes_[local_lane];
  estimator_.Ratios(block, model_.values(), trajectory, lane);
  double* const scores = scores_.data() + local_lane * kVpgSums;
  for (const float each : lane.ratios) {
    const auto ratio = static_cast<double>(each);
    scores[kVpgKlK1] -= std::log(ratio);
    scores[kVpgKlK3] += ratio - 1 - std::log(ratio);
  }
}

Result<PolicyUpdate> VpgLearner::Update(std::uint64_t update, const UpdateRates& rates,
                                        std::span<const Trajectory* const> trajectories) {
  MUSTER_CHECK(trajectories.size() == lanes_.size(), "a trajectory for each lane");
  for (Work& work : work_) work = {};
  std::fill(scores_.begin(), scores_.end(), 0.0);
  loop_.ForLanes([&](LaneLoop::Block& block, std::size_t lane) {
    estimator_.Estimate(block, model_.values(), *trajectories[lane], lanes_[lane]);
    SumEstimates(lanes_[lane],
                 std::span(estimate_sums_).subspan(lane * kEstimateSums, kEstimateSums));
  });
  MUSTER_RETURN_IF_ERROR(loop_.SumLanes(estimate_sums_, kEstimateSums));
  PolicyUpdate result;
  Explain(estimate_sums_, result);
  const std::string what = "update " + std::to_string(update + 1);
  loop_.ForLanes([&](LaneLoop::Block& block, std::size_t lane) {
    RunPolicy(block, lane, *trajectories[lane]);
  });
  MUSTER_ASSIGN_OR_RETURN(
      result.gradient_norm,
      StepModel(loop_, model_, pool_, what + ", the policy's step", rates.learning_rate,
                options_.gradient_clip_norm, kPolicyOptimizer, result));
  loop_.ForLanes([&](LaneLoop::Block& block, std::size_t lane) {
    SumRatios(block, lane, *trajectories[lane]);
  });
  for (std::size_t step = 0; step < options_.vpg->value_steps; ++step) {
    loop_.ForLanes([&](LaneLoop::Block& block, std::size_t lane) {
      RunValues(block, lane, *trajectories[lane]);
    });
    const std::string which = what + ", value step " + std::to_string(step + 1);
    MUSTER_RETURN_IF_ERROR(StepModel(loop_, model_, pool_, which, rates.value_learning_rate,
                                     options_.gradient_clip_norm, kValueOptimizer, result)
                               .status());
  }
  MUSTER_RETURN_IF_ERROR(loop_.SumLanes(scores_, kVpgSums));
  const auto rows = static_cast<double>(options_.batch_size());
  result.policy_loss = scores_[kVpgLoss] / rows;
  result.value_loss =
      scores_[kVpgValueLoss] / rows / static_cast<double>(options_.vpg->value_steps);
  result.entropy = scores_[kVpgEntropy] / rows;
  result.approx_kl_k1 = scores_[kVpgKlK1] / rows;
  result.approx_kl = scores_[kVpgKlK3] / rows;
  for (const Work& work : work_) {
    result.forward_ms = std::max(result.forward_ms, work.forward_ms);
    result.backward_ms = std::max(result.backward_ms, work.backward_ms);
    result.first_ratio_error = std::max(result.first_ratio_error, work.ratio_error);
  }
  return result;
}

}  // namespace muster::rl
