// ActionSampler: draws what a policy does in each of its environments.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random_key.h"
#include "trainer/rl/policy.h"

namespace muster::rl {

// Whose draws they are. Environments of evaluations lie away from those of training.
struct Sampled {
  std::uint64_t seed = 0;
  std::uint32_t first = 0;       // The first environment's number.
  std::uint64_t step = 0;        // Of each environment: its draws are numbered by it.
  std::uint64_t noise_step = 0;  // gSDE: the step at which the matrices in use were drawn.
};

// What is drawn depends on the arguments of the newest call alone; it keeps memory, and gSDE's
// matrices until others are asked for. One thread at a time.
class ActionSampler {
 public:
  // Actions [rows], row e by the draws of environment first + e, and their log-probabilities with
  // the bits that Policy::LogProbs gives for them; `log_probs` may be empty. `tape` is the one of
  // the distribution.
  void Sample(Tape& tape, const Policy& policy, const Policy::Distribution& distribution,
              const Sampled& draw, Actions& actions, std::span<float> log_probs);

 private:
  void DrawMatrices(const Policy& policy, std::size_t rows, const Sampled& draw);

  std::vector<RandomKey> keys_;
  // gSDE: [rows, features, actions], of the draw `drawn_`.
  std::vector<float> noise_;
  Sampled drawn_;
};

}  // namespace muster::rl
