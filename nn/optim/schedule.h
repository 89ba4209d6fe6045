// Learning-rate schedules: constant, linear and cosine decay after a linear warm-up.
// Cosine: Loshchilov and Hutter, arXiv:1608.03983, eq. 5, without restarts.
#pragma once

#include <cstdint>

namespace muster::nn {

enum class ScheduleKind : std::uint8_t { kConstant, kLinear, kCosine };

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kConstant;
  float learning_rate = 1e-3F;     // The highest, right after the warm-up.
  float final_fraction = 0.0F;     // Of learning_rate, reached at the last step; in [0, 1].
  std::uint64_t warmup_steps = 0;  // Step k of the warm-up has (k + 1) / warmup_steps of it.
  std::uint64_t steps_total = 0;   // Used by linear and cosine.
};

// The rate of step `step`, counted from 0. Steps beyond steps_total keep the final rate.
float LearningRate(const ScheduleOptions& options, std::uint64_t step);

}  // namespace muster::nn
