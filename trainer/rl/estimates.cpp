#include "trainer/rl/estimates.h"

#include <algorithm>
#include <cmath>

#include "trainer/rl/advantages.h"

namespace muster::rl {
namespace {

// Rows that the critic sees at once: enough to be fast, few enough to stay in a core's cache. How
// many changes no bit.
constexpr std::size_t kCriticRows = 512;
constexpr double kAdvantageEpsilon = 1e-8;

double Variance(double sum, double squares, double count) {
  return std::max(squares / count - (sum / count) * (sum / count), 0.0);
}

}  // namespace

void SumEstimates(const Estimates& estimates, std::span<double> sums) {
  std::fill(sums.begin(), sums.end(), 0.0);
  for (std::size_t i = 0; i < estimates.values.size(); ++i) {
    const auto value = static_cast<double>(estimates.values[i]);
    const auto target = static_cast<double>(estimates.returns[i]);
    const auto advantage = static_cast<double>(estimates.advantages[i]);
    sums[kReturns] += target;
    sums[kReturnSquares] += target * target;
    sums[kErrors] += target - value;
    sums[kErrorSquares] += (target - value) * (target - value);
    sums[kAdvantages] += advantage;
    sums[kAdvantageSquares] += advantage * advantage;
    sums[kValues] += value;
  }
  sums[kRowCount] = static_cast<double>(estimates.values.size());
}

void Explain(std::span<const double> sums, PolicyUpdate& update) {
  const double rows = sums[kRowCount];
  const double returns = Variance(sums[kReturns], sums[kReturnSquares], rows);
  const double errors = Variance(sums[kErrors], sums[kErrorSquares], rows);
  update.explained_variance = returns > 0 ? 1 - errors / returns : 0;
  update.advantage_mean = sums[kAdvantages] / rows;
  update.value_mean = sums[kValues] / rows;
}

void NormalizeAdvantages(double sum, double squares, double count, std::span<float> advantages) {
  const double mean = sum / count;
  // The sample's deviation, as in PyTorch; of a single advantage there is none.
  const double variance = count > 1 ? Variance(sum, squares, count) * count / (count - 1) : 0.0;
  const double scale = 1.0 / (std::sqrt(variance) + kAdvantageEpsilon);
  for (float& advantage : advantages) {
    advantage = static_cast<float>((static_cast<double>(advantage) - mean) * scale);
  }
}

// Whole steps of all environments where the policy has memory.
std::size_t Estimator::RowsAtOnce(const Trajectory& trajectory) const {
  if (policy_.memory() == 0) return kCriticRows;
  return std::max<std::size_t>(kCriticRows / trajectory.envs, 1) * trajectory.envs;
}

Past Estimator::PastOf(const Trajectory& trajectory, const Estimates& lane, std::size_t first,
                       std::size_t rows) const {
  const std::size_t each = policy_.memory();
  if (each == 0) return {};
  return {.memory = std::span(lane.memory).subspan(first * each, trajectory.envs * each),
          .starts = std::span(lane.starts).subspan(first, rows)};
}

// The critic's values of the rollout, and what the policy remembers at each of its steps.
void Estimator::Replay(LaneLoop::Block& block, std::span<const float> values,
                       const Trajectory& trajectory, Estimates& lane) const {
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
    Tape& tape = loop_.BeginInference(block, values);
    const Tensor x = tape.Input({count, width}, trajectory.features.data() + at * width);
    std::copy_n(policy_.Values(tape, x, past).data(), count,
                lane.values.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

// Of rows that have a past each.
void Estimator::ValuesOf(LaneLoop::Block& block, std::span<const float> values,
                         std::span<const float> features, const Past& past,
                         std::span<float> to) const {
  const std::size_t width = policy_.features(), each = policy_.memory();
  for (std::size_t at = 0; at < to.size(); at += kCriticRows) {
    const std::size_t rows = std::min(kCriticRows, to.size() - at);
    const Past own{.memory = past.memory.subspan(at * each, rows * each),
                   .starts = past.starts.empty() ? past.starts : past.starts.subspan(at, rows)};
    Tape& tape = loop_.BeginInference(block, values);
    const Tensor result =
        policy_.Values(tape, tape.Input({rows, width}, features.data() + at * width), own);
    std::copy_n(result.data(), rows, to.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

// The critic's values, and from them advantages and returns.
void Estimator::Estimate(LaneLoop::Block& block, std::span<const float> values,
                         const Trajectory& trajectory, Estimates& lane) const {
  const std::size_t rows = trajectory.rows();
  lane.values.resize(rows);
  lane.last_values.resize(trajectory.envs);
  lane.cut_values.resize(trajectory.cut.size());
  lane.final_values.assign(rows, 0.0F);
  lane.advantages.resize(rows);
  lane.returns.resize(rows);
  Replay(block, values, trajectory, lane);
  ValuesOf(block, values, trajectory.last_features, PastOf(trajectory, lane, rows, trajectory.envs),
           lane.last_values);
  GatherRows(std::span(lane.memory).subspan(trajectory.memory.size()), policy_.memory(),
             trajectory.cut, lane.cut_memory);
  ValuesOf(block, values, trajectory.cut_features, {.memory = lane.cut_memory}, lane.cut_values);
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
    Ratios(block, values, trajectory, lane);
    VTrace(view, lane.ratios, {.gamma = options_.gamma, .lambda = options_.gae_lambda},
           lane.advantages, lane.returns);
    return;
  }
  if (options_.vpg) {
    // The critic's targets are the whole returns, whatever the advantages' lambda.
    Gae(view, {.gamma = options_.gamma, .lambda = 1}, lane.advantages, lane.returns);
    lane.ratios.resize(rows);  // For the other returns, which nobody reads.
    Gae(view, {.gamma = options_.gamma, .lambda = options_.gae_lambda}, lane.advantages,
        lane.ratios);
    return;
  }
  Gae(view, {.gamma = options_.gamma, .lambda = options_.gae_lambda}, lane.advantages,
      lane.returns);
}

void Estimator::Ratios(LaneLoop::Block& block, std::span<const float> values,
                       const Trajectory& trajectory, Estimates& lane) const {
  const std::size_t width = policy_.features(), acts = policy_.action_elements();
  lane.ratios.resize(trajectory.rows());
  for (std::size_t at = 0; at < lane.ratios.size(); at += RowsAtOnce(trajectory)) {
    const std::size_t rows = std::min(RowsAtOnce(trajectory), lane.ratios.size() - at);
    const Actions actions = PartOf(trajectory.actions, at, rows, acts);
    Tape& tape = loop_.BeginInference(block, values);
    const Tensor x = tape.Input({rows, width}, trajectory.features.data() + at * width);
    const Past past = PastOf(trajectory, lane, at, rows);
    const LogProbsAndEntropy now = policy_.LogProbs(tape, policy_.Act(tape, x, past), actions);
    for (std::size_t i = 0; i < rows; ++i) {
      lane.ratios[at + i] = std::exp(now.log_probs.data()[i] - trajectory.log_probs[at + i]);
    }
  }
}

}  // namespace muster::rl
