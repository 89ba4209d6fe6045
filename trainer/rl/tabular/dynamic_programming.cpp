#include "trainer/rl/tabular/dynamic_programming.h"

#include <algorithm>
#include <cmath>

namespace muster::rl {

double ActionValue(const envs::TabularModel& model, std::span<const double> values, double discount,
                   std::size_t state, std::size_t action) {
  double value = 0;
  for (const envs::TabularOutcome& outcome : model.Outcomes(state, action)) {
    const double later = outcome.terminated ? 0 : values[static_cast<std::size_t>(outcome.next)];
    value += outcome.probability * (outcome.reward + discount * later);
  }
  return value;
}

std::vector<std::size_t> GreedyPolicy(const envs::TabularModel& model,
                                      std::span<const double> values, double discount) {
  std::vector<std::size_t> policy(model.states());
  ImprovePolicy(model, values, discount, policy);
  return policy;
}

std::size_t ImprovePolicy(const envs::TabularModel& model, std::span<const double> values,
                          double discount, std::span<std::size_t> policy) {
  std::size_t changed = 0;
  for (std::size_t state = 0; state < model.states(); ++state) {
    const std::size_t old = policy[state];
    double best = ActionValue(model, values, discount, state, old);
    for (std::size_t action = 0; action < model.actions(); ++action) {
      const double value = ActionValue(model, values, discount, state, action);
      if (value <= best + kTie * std::max(1.0, std::abs(best))) continue;
      best = value;
      policy[state] = action;
    }
    if (policy[state] != old) ++changed;
  }
  return changed;
}

double StartValue(const envs::TabularModel& model, std::span<const double> values) {
  double mean = 0;
  for (std::size_t state = 0; state < model.states(); ++state) {
    mean += model.start[state] * values[state];
  }
  return mean;
}

}  // namespace muster::rl
