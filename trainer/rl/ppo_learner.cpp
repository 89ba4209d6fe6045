#include "trainer/rl/ppo_learner.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "base/random_key.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/ppo_loss.h"
#include "trainer/training_run.h"

namespace muster::rl {
namespace {

// Columns of an update's sums over lanes, behind those of the estimates.
enum UpdateSum : std::size_t {
  kPolicyLoss = kEstimateSums,
  kValueLoss,
  kEntropy,
  kKlK1,
  kKlK3,
  kClipped,
  kWeight,
  kSums
};

// The rows of `environments`, dealt out over minibatches, to `rows` [minibatches, steps, envs of
// a minibatch]; row t * envs + e is step t of environment e.
void PutWholeEnvironments(std::span<const std::uint32_t> environments, std::size_t minibatches,
                          std::span<std::uint32_t> rows) {
  const std::size_t envs = environments.size(), each = envs / minibatches;
  const std::size_t steps = rows.size() / envs;
  auto to = rows.begin();
  for (std::size_t k = 0; k < minibatches; ++k) {
    for (std::size_t step = 0; step < steps; ++step) {
      for (const std::uint32_t env : environments.subspan(k * each, each)) {
        *to++ = static_cast<std::uint32_t>(step * envs) + env;
      }
    }
  }
}

}  // namespace

// What an update holds of a local lane.
struct PpoLearner::Lane : Estimates {
  std::vector<std::uint32_t> order;  // [epochs, rows]: a permutation of the rows for each epoch.
};

// What a block works with: one minibatch of one lane.
struct PpoLearner::Work {
  std::vector<float> features, old_log_probs, advantages, returns, old_values;
  std::vector<float> memory;
  std::vector<std::uint8_t> starts;
  Actions actions;
  double forward_ms = 0, backward_ms = 0;
  double ratio_error = 0;
};

PpoLearner::PpoLearner(const PpoOptions& options, const Policy& policy, LaneLoop& loop,
                       ModelState& model, ThreadPool& pool)
    : Learner(options, policy, loop, model, pool),
      estimator_(options, policy, loop),
      lanes_(loop.local_lanes()),
      work_(loop.blocks()),
      advantage_sums_(loop.local_lanes() * options.epochs * options.minibatches * 2),
      scores_(loop.local_lanes() * kSums),
      kl_(loop.local_lanes() * 2) {}

PpoLearner::~PpoLearner() = default;

// Fisher and Yates' shuffle, an epoch after another: four draws of 32 bits to a block. Rows change
// places, or of a policy with memory environments, whose rows are put behind one another by time.
void PpoLearner::Shuffle(std::uint64_t update, std::size_t global_lane, Lane& lane) const {
  const std::size_t rows = lane.values.size();
  const bool whole = policy_.memory() > 0;
  const std::size_t pieces = whole ? options_.lane_envs() : rows;
  std::vector<std::uint32_t> environments(whole ? pieces : 0);
  lane.order.resize(options_.epochs * rows);
  std::uint64_t draw = update * options_.epochs * ((pieces + 3) / 4);
  for (std::size_t epoch = 0; epoch < options_.epochs; ++epoch) {
    const std::span<std::uint32_t> all = std::span(lane.order).subspan(epoch * rows, rows);
    const std::span<std::uint32_t> order = whole ? std::span(environments) : all;
    std::iota(order.begin(), order.end(), 0U);
    PhiloxBlock block{};
    for (std::size_t i = 0; i < pieces; ++i) {
      if (i % 4 == 0) {
        block = RandomBlock(options_.seed, RandomPurpose::kMinibatch,
                            static_cast<std::uint32_t>(global_lane), draw++);
      }
      // The last of what is left changes places; a bias of at most pieces / 2^32.
      const std::uint64_t left = pieces - i;
      const auto other = static_cast<std::size_t>((block[i % 4] * left) >> 32U);
      std::swap(order[left - 1], order[other]);
    }
    if (whole) PutWholeEnvironments(order, options_.minibatches, all);
  }
}

// For the minibatch of these rows: whole environments by time.
void PpoLearner::GatherPast(const Trajectory& trajectory, const Lane& lane,
                            std::span<const std::uint32_t> rows, Work& work) const {
  if (policy_.memory() == 0) return;
  GatherRows(trajectory.memory, policy_.memory(), rows.first(rows.size() / trajectory.steps),
             work.memory);
  GatherRows(lane.starts, 1, rows, work.starts);
}

// Sum and sum of squares of each minibatch's advantages.
void PpoLearner::SumAdvantages(std::size_t local_lane, Lane& lane) {
  const std::size_t size = options_.lane_minibatch();
  const std::size_t minibatches = options_.epochs * options_.minibatches;
  for (std::size_t k = 0; k < minibatches; ++k) {
    double sum = 0, squares = 0;
    for (std::size_t i = k * size; i < (k + 1) * size; ++i) {
      const auto advantage = static_cast<double>(lane.advantages[lane.order[i]]);
      sum += advantage;
      squares += advantage * advantage;
    }
    double* const to = advantage_sums_.data() + (local_lane * minibatches + k) * 2;
    to[0] = sum;
    to[1] = squares;
  }
  const std::span<double> scores = std::span(scores_).subspan(local_lane * kSums, kSums);
  SumEstimates(lane, scores.first(kEstimateSums));
  std::fill(scores.begin() + kEstimateSums, scores.end(), 0.0);
}

void PpoLearner::Normalize(std::size_t minibatch, Work& work) const {
  if (!options_.normalize_advantages) return;
  const auto count = static_cast<double>(options_.batch_size() / options_.minibatches);
  const double* const sums = advantage_sums_.data() + minibatch * 2;
  NormalizeAdvantages(sums[0], sums[1], count, work.advantages);
}

void PpoLearner::RunMinibatch(LaneLoop::Block& block, std::size_t local_lane, std::size_t minibatch,
                              const UpdateRates& rates, const Trajectory& trajectory) {
  Stopwatch watch;
  const Lane& lane = lanes_[local_lane];
  Work& work = work_[block.index()];
  const std::size_t rows = options_.lane_minibatch();
  const auto chosen = std::span(lane.order).subspan(minibatch * rows, rows);
  GatherRows(trajectory.features, policy_.features(), chosen, work.features);
  GatherRows(trajectory.actions.choices, policy_.action_elements(), chosen, work.actions.choices);
  GatherRows(trajectory.actions.numbers, policy_.action_elements(), chosen, work.actions.numbers);
  GatherRows(trajectory.log_probs, 1, chosen, work.old_log_probs);
  GatherRows(lane.advantages, 1, chosen, work.advantages);
  GatherRows(lane.returns, 1, chosen, work.returns);
  GatherRows(lane.values, 1, chosen, work.old_values);
  GatherPast(trajectory, lane, chosen, work);
  Normalize(minibatch, work);

  Tape& tape = loop_.BeginStep(block, local_lane, model_.values());
  const Policy::Outputs outputs =
      policy_.Both(tape, tape.Input({rows, policy_.features()}, work.features.data()),
                   {.memory = work.memory, .starts = work.starts});
  const LogProbsAndEntropy taken = policy_.LogProbs(tape, outputs.actor, work.actions);
  if (minibatch == 0) {
    for (std::size_t i = 0; i < rows; ++i) {
      const double log_ratio = static_cast<double>(taken.log_probs.data()[i]) -
                               static_cast<double>(work.old_log_probs[i]);
      work.ratio_error = std::max(work.ratio_error, std::abs(std::expm1(log_ratio)));
    }
  }
  // Means over the minibatch of all lanes.
  const float scale = 1.0F / static_cast<float>(options_.batch_size() / options_.minibatches);
  const ops::PpoLoss policy_loss = ops::ClippedSurrogate(
      tape, taken.log_probs,
      {.old_log_probs = work.old_log_probs, .advantages = work.advantages, .weights = {}},
      {.low = rates.clip_range, .high = rates.clip_range}, scale);
  const Tensor values = ops::Reshape(tape, outputs.values, {rows});
  const ops::ValueLossResult value_loss =
      options_.value_clip_range > 0
          ? ops::ClippedValueLoss(
                tape, values,
                {.old_values = work.old_values, .targets = work.returns, .weights = {}},
                options_.value_clip_range, scale)
          : ops::ValueLoss(tape, values, work.returns, {}, scale);
  const Tensor entropy = ops::Sum(tape, taken.entropy);
  Tensor loss = ops::Add(tape, policy_loss.loss,
                         ops::Scale(tape, value_loss.loss, options_.value_coefficient));
  if (options_.entropy_coefficient != 0) {
    loss = ops::Add(tape, loss, ops::Scale(tape, entropy, -options_.entropy_coefficient * scale));
  }
  work.forward_ms += watch.lap_ms();
  tape.Backward(loss);
  work.backward_ms += watch.lap_ms();

  double* const scores = scores_.data() + local_lane * kSums;
  scores[kPolicyLoss] += policy_loss.score.loss_sum;
  scores[kValueLoss] += value_loss.score.loss_sum;
  scores[kEntropy] += static_cast<double>(entropy.data()[0]);
  scores[kKlK1] += policy_loss.score.kl_k1_sum;
  scores[kKlK3] += policy_loss.score.kl_k3_sum;
  scores[kClipped] += policy_loss.score.clipped_sum;
  scores[kWeight] += policy_loss.score.weight_sum;
  kl_[local_lane * 2] = policy_loss.score.kl_k3_sum;
  kl_[local_lane * 2 + 1] = policy_loss.score.weight_sum;
}

Result<bool> PpoLearner::BeyondTargetKl() {
  if (options_.target_kl <= 0) return false;
  MUSTER_RETURN_IF_ERROR(loop_.SumLanes(kl_, 2));
  return kl_[0] / kl_[1] > static_cast<double>(options_.target_kl);
}

Result<PolicyUpdate> PpoLearner::Update(std::uint64_t update, const UpdateRates& rates,
                                        std::span<const Trajectory* const> trajectories) {
  MUSTER_CHECK(trajectories.size() == lanes_.size(), "a trajectory for each lane");
  for (Work& work : work_) work.forward_ms = work.backward_ms = work.ratio_error = 0;
  loop_.ForLanes([&](LaneLoop::Block& block, std::size_t local_lane) {
    Lane& lane = lanes_[local_lane];
    estimator_.Estimate(block, model_.values(), *trajectories[local_lane], lane);
    Shuffle(update, loop_.LaneOf(local_lane), lane);
    SumAdvantages(local_lane, lane);
  });
  const std::size_t minibatches = options_.epochs * options_.minibatches;
  MUSTER_RETURN_IF_ERROR(loop_.SumLanes(advantage_sums_, minibatches * 2));
  PolicyUpdate result;
  result.policy_lag = static_cast<double>(update - trajectories.front()->version);
  for (std::size_t minibatch = 0; minibatch < minibatches; ++minibatch) {
    loop_.ForLanes([&](LaneLoop::Block& block, std::size_t local_lane) {
      RunMinibatch(block, local_lane, minibatch, rates, *trajectories[local_lane]);
    });
    const std::string what =
        "update " + std::to_string(update + 1) + ", minibatch " + std::to_string(minibatch + 1);
    MUSTER_ASSIGN_OR_RETURN(const double norm,
                            StepModel(loop_, model_, pool_, what, rates.learning_rate,
                                      options_.gradient_clip_norm, 0, result));
    result.gradient_norm += norm;
    if ((minibatch + 1) % options_.minibatches != 0) continue;
    ++result.epochs;
    MUSTER_ASSIGN_OR_RETURN(const bool stop, BeyondTargetKl());
    if (stop) break;
  }
  return Summarize(result);
}

Result<PolicyUpdate> PpoLearner::Summarize(PolicyUpdate result) {
  MUSTER_RETURN_IF_ERROR(loop_.SumLanes(scores_, kSums));
  const double* const sums = scores_.data();
  const double weight = sums[kWeight];
  result.policy_loss = sums[kPolicyLoss] / weight;
  result.value_loss = sums[kValueLoss] / weight;
  result.entropy = sums[kEntropy] / weight;
  result.approx_kl_k1 = sums[kKlK1] / weight;
  result.approx_kl = sums[kKlK3] / weight;
  result.clip_fraction = sums[kClipped] / weight;
  Explain(std::span(scores_).first(kEstimateSums), result);
  result.gradient_norm /= static_cast<double>(result.epochs * options_.minibatches);
  for (const Work& work : work_) {
    result.forward_ms = std::max(result.forward_ms, work.forward_ms);
    result.backward_ms = std::max(result.backward_ms, work.backward_ms);
    result.first_ratio_error = std::max(result.first_ratio_error, work.ratio_error);
  }
  return result;
}

}  // namespace muster::rl
