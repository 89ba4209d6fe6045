// Value iteration.
// Source: Sutton and Barto, 2nd edition, section 4.4; Bellman, "A Markovian decision process",
// 1957.
#include <algorithm>
#include <cmath>

#include "trainer/rl/tabular/dynamic_programming.h"

namespace muster::rl {

double ValueIterationSweep(const envs::TabularModel& model, double discount,
                           std::span<double> values) {
  double change = 0;
  for (std::size_t state = 0; state < model.states(); ++state) {
    double best = ActionValue(model, values, discount, state, 0);
    for (std::size_t action = 1; action < model.actions(); ++action) {
      best = std::max(best, ActionValue(model, values, discount, state, action));
    }
    change = std::max(change, std::abs(best - values[state]));
    values[state] = best;
  }
  return change;
}

}  // namespace muster::rl
