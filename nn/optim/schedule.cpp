#include "nn/optim/schedule.h"

#include <cmath>
#include <numbers>

namespace muster::nn {

float LearningRate(const ScheduleOptions& options, std::uint64_t step) {
  if (step < options.warmup_steps) {
    return static_cast<float>(static_cast<double>(options.learning_rate) *
                              static_cast<double>(step + 1) /
                              static_cast<double>(options.warmup_steps));
  }
  if (options.kind == ScheduleKind::kConstant) return options.learning_rate;
  // 0 at the first step after the warm-up, 1 at the last step.
  const std::uint64_t last = options.steps_total == 0 ? 0 : options.steps_total - 1;
  const double progress = step >= last ? 1.0
                                       : static_cast<double>(step - options.warmup_steps) /
                                             static_cast<double>(last - options.warmup_steps);
  const double left = options.kind == ScheduleKind::kLinear
                          ? 1.0 - progress
                          : 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  const auto final_fraction = static_cast<double>(options.final_fraction);
  return static_cast<float>(static_cast<double>(options.learning_rate) *
                            (final_fraction + (1.0 - final_fraction) * left));
}

}  // namespace muster::nn
