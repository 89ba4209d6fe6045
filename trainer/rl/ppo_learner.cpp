#include "trainer/rl/ppo_learner.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <type_traits>

#include "base/random_key.h"
#include "nn/optim/gradient_norm.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/ppo_loss.h"
#include "trainer/rl/advantages.h"
#include "trainer/training_run.h"

namespace muster::rl {
namespace {

// Rows that the critic sees at once: enough to be fast, few enough to stay in a core's cache. How
// many changes no bit.
constexpr std::size_t kCriticRows = 512;
constexpr double kAdvantageEpsilon = 1e-8;

// Columns of an update's sums over lanes.
enum UpdateSum : std::size_t {
  kPolicyLoss,
  kValueLoss,
  kEntropy,
  kKlK1,
  kKlK3,
  kClipped,
  kWeight,
  kReturns,
  kReturnSquares,
  kErrors,  // Returns less values.
  kErrorSquares,
  kAdvantages,
  kValues,
  kRows,
  kSums
};

template <class From, class T>
void GatherRows(const From& from, std::size_t width, std::span<const std::uint32_t> rows,
                std::vector<T>& to) {
  if (from.empty()) return;
  to.resize(rows.size() * width);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(rows[i] * width), width,
                to.begin() + static_cast<std::ptrdiff_t>(i * width));
  }
}

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

double Variance(double sum, double squares, double count) {
  return std::max(squares / count - (sum / count) * (sum / count), 0.0);
}

}  // namespace

// What an update holds of a local lane.
struct PpoLearner::Lane {
  std::vector<float> values, last_values, cut_values, final_values;
  std::vector<std::uint8_t> terminated;  // Time limits too, where they are not bootstrapped.
  std::vector<float> advantages, returns, ratios;
  // Of a policy with memory, [envs + rows]: the memory before row r at r and after it at envs + r,
  // and whether an episode begins at row r.
  std::vector<float> memory;
  std::vector<std::uint8_t> starts;
  std::vector<float> cut_memory;
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
    : options_(options),
      policy_(policy),
      loop_(loop),
      model_(model),
      pool_(pool),
      lanes_(loop.local_lanes()),
      work_(loop.blocks()),
      advantage_sums_(loop.local_lanes() * options.epochs * options.minibatches * 2),
      scores_(loop.local_lanes() * kSums),
      kl_(loop.local_lanes() * 2) {}

PpoLearner::~PpoLearner() = default;

// Whole steps of all environments where the policy has memory.
std::size_t PpoLearner::RowsAtOnce(const Trajectory& trajectory) const {
  if (policy_.memory() == 0) return kCriticRows;
  return std::max<std::size_t>(kCriticRows / trajectory.envs, 1) * trajectory.envs;
}

Past PpoLearner::PastOf(const Trajectory& trajectory, const Lane& lane, std::size_t first,
                        std::size_t rows) const {
  const std::size_t each = policy_.memory();
  if (each == 0) return {};
  return {.memory = std::span(lane.memory).subspan(first * each, trajectory.envs * each),
          .starts = std::span(lane.starts).subspan(first, rows)};
}

// The critic's values of the rollout, and what the policy remembers at each of its steps.
void PpoLearner::Replay(LaneLoop::Block& block, const Trajectory& trajectory, Lane& lane) {
  const std::size_t rows = trajectory.rows(), envs = trajectory.envs, each = policy_.memory();
  lane.memory = trajectory.memory;
  lane.memory.resize((envs + rows) * each);
  lane.starts.assign(envs + rows, 0);  // The memory is that of an episode which begins at row 0.
  for (std::size_t row = 0; row < rows; ++row) {
    lane.starts[envs + row] = trajectory.terminated[row] | trajectory.truncated[row];
  }
  const std::size_t width = policy_.features();
  for (std::size_t at = 0; at < rows; at += RowsAtOnce(trajectory)) {
    const std::size_t count = std::min(RowsAtOnce(trajectory), rows - at);
    Past past = PastOf(trajectory, lane, at, count);
    past.after = std::span(lane.memory).subspan((envs + at) * each, count * each);
    Tape& tape = loop_.BeginInference(block, model_.values());
    const Tensor x = tape.Input({count, width}, trajectory.features.data() + at * width);
    std::copy_n(policy_.Values(tape, x, past).data(), count,
                lane.values.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

// Of rows that have a past each.
void PpoLearner::ValuesOf(LaneLoop::Block& block, std::span<const float> features, const Past& past,
                          std::span<float> values) {
  const std::size_t width = policy_.features(), each = policy_.memory();
  for (std::size_t at = 0; at < values.size(); at += kCriticRows) {
    const std::size_t rows = std::min(kCriticRows, values.size() - at);
    const Past own{.memory = past.memory.subspan(at * each, rows * each),
                   .starts = past.starts.empty() ? past.starts : past.starts.subspan(at, rows)};
    Tape& tape = loop_.BeginInference(block, model_.values());
    const Tensor result =
        policy_.Values(tape, tape.Input({rows, width}, features.data() + at * width), own);
    std::copy_n(result.data(), rows, values.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

// The critic's values, and from them advantages and returns.
void PpoLearner::Estimate(LaneLoop::Block& block, const Trajectory& trajectory, Lane& lane) {
  const std::size_t rows = trajectory.rows();
  lane.values.resize(rows);
  lane.last_values.resize(trajectory.envs);
  lane.cut_values.resize(trajectory.cut.size());
  lane.final_values.assign(rows, 0.0F);
  lane.advantages.resize(rows);
  lane.returns.resize(rows);
  Replay(block, trajectory, lane);
  ValuesOf(block, trajectory.last_features, PastOf(trajectory, lane, rows, trajectory.envs),
           lane.last_values);
  GatherRows(std::span(lane.memory).subspan(trajectory.memory.size()), policy_.memory(),
             trajectory.cut, lane.cut_memory);
  ValuesOf(block, trajectory.cut_features, {.memory = lane.cut_memory}, lane.cut_values);
  for (std::size_t i = 0; i < trajectory.cut.size(); ++i) {
    lane.final_values[trajectory.cut[i]] = lane.cut_values[i];
  }
  lane.terminated = trajectory.terminated;
  if (!options_.bootstrap_truncated) {
    for (std::size_t i = 0; i < rows; ++i) lane.terminated[i] |= trajectory.truncated[i];
  }
  const RolloutView view{.steps = trajectory.steps,
                         .envs = trajectory.envs,
                         .rewards = trajectory.rewards,
                         .values = lane.values,
                         .terminated = lane.terminated,
                         .truncated = trajectory.truncated,
                         .final_values = lane.final_values,
                         .last_values = lane.last_values};
  if (options_.vtrace) {
    Ratios(block, trajectory, lane);
    VTrace(view, lane.ratios, {.gamma = options_.gamma, .lambda = options_.gae_lambda},
           lane.advantages, lane.returns);
    return;
  }
  Gae(view, {.gamma = options_.gamma, .lambda = options_.gae_lambda}, lane.advantages,
      lane.returns);
}

// After Replay.
void PpoLearner::Ratios(LaneLoop::Block& block, const Trajectory& trajectory, Lane& lane) {
  const std::size_t width = policy_.features(), acts = policy_.action_elements();
  lane.ratios.resize(trajectory.rows());
  for (std::size_t at = 0; at < lane.ratios.size(); at += RowsAtOnce(trajectory)) {
    const std::size_t rows = std::min(RowsAtOnce(trajectory), lane.ratios.size() - at);
    const auto part = [&](const auto& all) {
      using Values = std::decay_t<decltype(all)>;
      if (all.empty()) return Values();
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(at * acts);
      return Values(begin, begin + static_cast<std::ptrdiff_t>(rows * acts));
    };
    const Actions actions{part(trajectory.actions.choices), part(trajectory.actions.numbers)};
    Tape& tape = loop_.BeginInference(block, model_.values());
    const Tensor x = tape.Input({rows, width}, trajectory.features.data() + at * width);
    const Past past = PastOf(trajectory, lane, at, rows);
    const LogProbsAndEntropy now = policy_.LogProbs(tape, policy_.Act(tape, x, past), actions);
    for (std::size_t i = 0; i < rows; ++i) {
      lane.ratios[at + i] = std::exp(now.log_probs.data()[i] - trajectory.log_probs[at + i]);
    }
  }
}

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

// Sum and sum of squares of each minibatch's advantages, and what explains the returns.
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
  double* const scores = scores_.data() + local_lane * kSums;
  std::fill_n(scores, static_cast<std::size_t>(kSums), 0.0);
  for (std::size_t i = 0; i < lane.values.size(); ++i) {
    const auto value = static_cast<double>(lane.values[i]);
    const auto target = static_cast<double>(lane.returns[i]);
    scores[kReturns] += target;
    scores[kReturnSquares] += target * target;
    scores[kErrors] += target - value;
    scores[kErrorSquares] += (target - value) * (target - value);
    scores[kAdvantages] += static_cast<double>(lane.advantages[i]);
    scores[kValues] += value;
  }
  scores[kRows] = static_cast<double>(lane.values.size());
}

void PpoLearner::Normalize(std::size_t minibatch, Work& work) const {
  if (!options_.normalize_advantages) return;
  const auto count = static_cast<double>(options_.batch_size() / options_.minibatches);
  const double* const sums = advantage_sums_.data() + minibatch * 2;
  const double mean = sums[0] / count;
  // The sample's deviation, as in PyTorch; of a single advantage there is none.
  const double variance = count > 1 ? Variance(sums[0], sums[1], count) * count / (count - 1) : 0.0;
  const double scale = 1.0 / (std::sqrt(variance) + kAdvantageEpsilon);
  for (float& advantage : work.advantages) {
    advantage = static_cast<float>((static_cast<double>(advantage) - mean) * scale);
  }
}

void PpoLearner::RunMinibatch(LaneLoop::Block& block, std::size_t local_lane, std::size_t minibatch,
                              const PpoRates& rates, const Trajectory& trajectory) {
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

Status PpoLearner::StepModel(std::uint64_t update, std::size_t minibatch, const PpoRates& rates,
                             PpoUpdate& result) {
  Stopwatch watch;
  MUSTER_ASSIGN_OR_RETURN(const std::span<float> gradients, loop_.ReducedGradients());
  result.communication_ms += watch.lap_ms();
  MUSTER_ASSIGN_OR_RETURN(const double norm, model_.GradientNorm(gradients, &pool_));
  if (!std::isfinite(norm)) {
    return FailedPrecondition("update " + std::to_string(update + 1) + ", minibatch " +
                              std::to_string(minibatch + 1) + ": the gradient's norm is " +
                              std::to_string(norm) +
                              "; a lower learning_rate or normalised rewards may help");
  }
  nn::OptimizerStep step;
  step.learning_rate = rates.learning_rate;
  step.gradient_scale = nn::ClipScale(norm, options_.gradient_clip_norm);
  MUSTER_RETURN_IF_ERROR(model_.Step(step, gradients, &pool_));
  result.gradient_norm += norm;
  result.optimizer_ms += watch.lap_ms();
  return {};
}

Result<bool> PpoLearner::BeyondTargetKl() {
  if (options_.target_kl <= 0) return false;
  MUSTER_RETURN_IF_ERROR(loop_.SumLanes(kl_, 2));
  return kl_[0] / kl_[1] > static_cast<double>(options_.target_kl);
}

Result<PpoUpdate> PpoLearner::Update(std::uint64_t update, const PpoRates& rates,
                                     std::span<const Trajectory* const> trajectories) {
  MUSTER_CHECK(trajectories.size() == lanes_.size(), "a trajectory for each lane");
  for (Work& work : work_) work.forward_ms = work.backward_ms = work.ratio_error = 0;
  loop_.ForLanes([&](LaneLoop::Block& block, std::size_t local_lane) {
    Lane& lane = lanes_[local_lane];
    Estimate(block, *trajectories[local_lane], lane);
    Shuffle(update, loop_.LaneOf(local_lane), lane);
    SumAdvantages(local_lane, lane);
  });
  const std::size_t minibatches = options_.epochs * options_.minibatches;
  MUSTER_RETURN_IF_ERROR(loop_.SumLanes(advantage_sums_, minibatches * 2));
  PpoUpdate result;
  result.policy_lag = static_cast<double>(update - trajectories.front()->version);
  for (std::size_t minibatch = 0; minibatch < minibatches; ++minibatch) {
    loop_.ForLanes([&](LaneLoop::Block& block, std::size_t local_lane) {
      RunMinibatch(block, local_lane, minibatch, rates, *trajectories[local_lane]);
    });
    MUSTER_RETURN_IF_ERROR(StepModel(update, minibatch, rates, result));
    if ((minibatch + 1) % options_.minibatches != 0) continue;
    ++result.epochs;
    MUSTER_ASSIGN_OR_RETURN(const bool stop, BeyondTargetKl());
    if (stop) break;
  }
  return Summarize(result);
}

Result<PpoUpdate> PpoLearner::Summarize(PpoUpdate result) {
  MUSTER_RETURN_IF_ERROR(loop_.SumLanes(scores_, kSums));
  const double* const sums = scores_.data();
  const double weight = sums[kWeight], rows = sums[kRows];
  result.policy_loss = sums[kPolicyLoss] / weight;
  result.value_loss = sums[kValueLoss] / weight;
  result.entropy = sums[kEntropy] / weight;
  result.approx_kl_k1 = sums[kKlK1] / weight;
  result.approx_kl = sums[kKlK3] / weight;
  result.clip_fraction = sums[kClipped] / weight;
  const double returns = Variance(sums[kReturns], sums[kReturnSquares], rows);
  const double errors = Variance(sums[kErrors], sums[kErrorSquares], rows);
  result.explained_variance = returns > 0 ? 1 - errors / returns : 0;
  result.advantage_mean = sums[kAdvantages] / rows;
  result.value_mean = sums[kValues] / rows;
  result.gradient_norm /= static_cast<double>(result.epochs * options_.minibatches);
  for (const Work& work : work_) {
    result.forward_ms = std::max(result.forward_ms, work.forward_ms);
    result.backward_ms = std::max(result.backward_ms, work.backward_ms);
    result.first_ratio_error = std::max(result.first_ratio_error, work.ratio_error);
  }
  return result;
}

}  // namespace muster::rl
