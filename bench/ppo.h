// Training by PPO: environment steps a second from end to end, beside a loop in PyTorch.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>

#include "base/status.h"

namespace muster {

struct PpoBenchmarkOptions {
  std::string environment = "CartPole-v1";
  std::size_t envs = 64;
  std::size_t rollout_steps = 64;
  std::size_t lanes = 2;
  std::size_t threads = 2;
  std::size_t repetitions = 5;
  bool peers = true;
  bool json = false;
};

// The curriculum's agent: two networks of 64-64, tanh, 4 minibatches and 4 epochs. Each repetition
// trains anew for 42 updates and leaves out the first two. The peer is a loop in the manner of
// CleanRL's ppo.py: the same agent in PyTorch on as many threads, Gymnasium's vector environments,
// with its own 4 environments x 128 steps and with ours. Median (least .. most).
Status RunPpoBenchmark(const PpoBenchmarkOptions& options, std::ostream& out);

}  // namespace muster
