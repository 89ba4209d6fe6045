#include "trainer/rl/tabular/action_values.h"

#include <algorithm>
#include <numeric>

namespace muster::rl {

double RunRandom::Uniform() {
  const PhiloxBlock block = RandomBlock(seed_, RandomPurpose::kAction, run_, drawn_++);
  const std::uint64_t bits = (static_cast<std::uint64_t>(block[0]) << 32U) | block[1];
  return static_cast<double>(bits >> 11U) * 0x1p-53;
}

std::size_t RunRandom::Below(std::size_t bound) {
  const PhiloxBlock block = RandomBlock(seed_, RandomPurpose::kAction, run_, drawn_++);
  return ::muster::Below(block[0], block[1], bound);
}

std::size_t BestAction(std::span<const double> values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

std::vector<std::size_t> GreedyPolicy(const ActionValues& q) {
  std::vector<std::size_t> policy(q.states());
  for (std::size_t state = 0; state < q.states(); ++state) policy[state] = BestAction(q[state]);
  return policy;
}

std::size_t GreedyAction(std::span<const double> values, RunRandom& random) {
  const double best = values[BestAction(values)];
  const auto equal = static_cast<std::size_t>(std::count(values.begin(), values.end(), best));
  std::size_t skip = equal > 1 ? random.Below(equal) : 0;
  std::size_t action = 0;
  while (values[action] != best || skip-- > 0) ++action;
  return action;
}

std::size_t EpsilonGreedyAction(std::span<const double> values, double epsilon, RunRandom& random) {
  if (random.Uniform() < epsilon) return random.Below(values.size());
  return GreedyAction(values, random);
}

double EpsilonGreedyMean(std::span<const double> values, double epsilon) {
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  // The best actions share what is greedy, and are equal.
  const double best = values[BestAction(values)];
  return epsilon * sum / static_cast<double>(values.size()) + (1 - epsilon) * best;
}

}  // namespace muster::rl
