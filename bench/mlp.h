// A step of the networks that PPO trains on classic control: what small tensors cost.
#pragma once

#include <cstddef>
#include <ostream>

#include "base/status.h"

namespace muster {

struct MlpBenchmarkOptions {
  std::size_t batch = 128;
  std::size_t rounds = 15;  // Of 200 steps each.
  bool json = false;
};

// Forward, backward and Adam of an actor and a critic of their own, 4-64-64 with tanh, on one
// thread: microseconds, median (least .. most) of the rounds, beside PyTorch's eager and compiled
// where it can be imported (see RunTorch), and the share of the processor's measured f32 rate.
Status RunMlpBenchmark(const MlpBenchmarkOptions& options, std::ostream& out);

}  // namespace muster
