#include "trainer/rl/tabular/bandit_agent.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace muster::rl {
namespace {

// Q(a) + c sqrt(ln t / N(a)) (equation 2.10); an arm that was never pulled comes before all others.
std::size_t UpperConfidenceArm(const BanditState& state, double confidence, RunRandom& random) {
  const auto pulled = std::accumulate(state.pulls.begin(), state.pulls.end(), std::int64_t{0});
  const double log_time = std::log(static_cast<double>(pulled + 1));
  std::vector<double> bounds(state.values.size());
  for (std::size_t arm = 0; arm < bounds.size(); ++arm) {
    const auto pulls = static_cast<double>(state.pulls[arm]);
    bounds[arm] =
        pulls == 0 ? HUGE_VAL : state.values[arm] + confidence * std::sqrt(log_time / pulls);
  }
  return GreedyAction(bounds, random);
}

std::size_t DrawArm(std::span<const double> probabilities, RunRandom& random) {
  const double drawn = random.Uniform();
  double sum = 0;
  for (std::size_t arm = 0; arm + 1 < probabilities.size(); ++arm) {
    sum += probabilities[arm];
    if (drawn < sum) return arm;
  }
  return probabilities.size() - 1;
}

// Equation 2.12: the arm's preference rises where it paid more than usual, the others' fall.
void MovePreferences(double step, std::size_t arm, BanditState& state) {
  const std::vector<double> probabilities = ArmProbabilities(state.values);
  for (std::size_t i = 0; i < state.values.size(); ++i) {
    state.values[i] += step * ((i == arm ? 1.0 : 0.0) - probabilities[i]);
  }
}

}  // namespace

std::vector<double> ArmProbabilities(std::span<const double> preferences) {
  const double most = *std::max_element(preferences.begin(), preferences.end());
  std::vector<double> result(preferences.size());
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = std::exp(preferences[i] - most);
  const double sum = std::accumulate(result.begin(), result.end(), 0.0);
  for (double& probability : result) probability /= sum;
  return result;
}

std::size_t ChooseArm(const BanditOptions& options, const BanditState& state,
                      std::span<const double> truth, RunRandom& random) {
  switch (options.rule) {
    case BanditRule::kEpsilonGreedy:
      return EpsilonGreedyAction(state.values, options.epsilon, random);
    case BanditRule::kUcb:
      return UpperConfidenceArm(state, options.confidence, random);
    case BanditRule::kGradient:
      return DrawArm(ArmProbabilities(state.values), random);
    case BanditRule::kRandom:
      return random.Below(state.values.size());
    case BanditRule::kCheater:
      break;
  }
  MUSTER_CHECK(truth.size() == state.values.size(), "a cheater is told the mean rewards");
  return BestAction(truth);
}

void ObserveReward(const BanditOptions& options, std::size_t arm, double reward,
                   BanditState& state) {
  ++state.pulls[arm];
  if (options.rule == BanditRule::kGradient) {
    MovePreferences(options.learning_rate * (reward - state.reward_mean), arm, state);
  } else {
    const double step = options.learning_rate > 0 ? options.learning_rate
                                                  : 1 / static_cast<double>(state.pulls[arm]);
    state.values[arm] += step * (reward - state.values[arm]);
  }
  // The baseline of a pull are the rewards before it.
  const auto pulled = std::accumulate(state.pulls.begin(), state.pulls.end(), std::int64_t{0});
  state.reward_mean += (reward - state.reward_mean) / static_cast<double>(pulled);
}

}  // namespace muster::rl
