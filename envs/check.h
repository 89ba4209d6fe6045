// `muster env check`: whether an environment keeps what envs/env.h and envs/vector_env.h promise.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "envs/env.h"
#include "envs/vector_env.h"

namespace muster::envs {

struct CheckLine {
  std::string what;  // "observations lie in their space"
  bool passed = true;
  std::string
      detail;  // Of a failure: what happened, at which step. Otherwise how much was looked at.
};

struct CheckOptions {
  std::uint64_t seed = 1;
  std::size_t steps = 1000;  // Random actions of each part; episodes follow one another.
};

using EnvMaker = std::function<Result<std::unique_ptr<Env>>()>;
using BatchMaker = std::function<Result<std::unique_ptr<VectorEnv>>(const VectorOptions&)>;

// Spec, observations, rewards, flags, refusals, determinism, resets without a seed, exact save and
// load in mid-episode, damaged states, the model where there is one, rendering. Every environment
// that `make` gives must be the same. Never stops early: one line a promise, in a fixed order.
std::vector<CheckLine> CheckEnv(const EnvMaker& make, const CheckOptions& options = {});

// Whether batches do what single environments do, in every autoreset mode, and whether slices of
// their state can be moved.
std::vector<CheckLine> CheckBatch(const EnvMaker& make, const BatchMaker& make_batch,
                                  const CheckOptions& options = {});

bool AllPassed(const std::vector<CheckLine>& lines);
// "ok    observations lie in their space (1000 steps)", one a line.
std::string TextOf(const std::vector<CheckLine>& lines);

}  // namespace muster::envs
