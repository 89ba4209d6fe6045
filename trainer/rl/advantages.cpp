#include "trainer/rl/advantages.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"

namespace muster::rl {
namespace {

void Check(const RolloutView& rollout, std::span<float> advantages, std::span<float> targets) {
  const std::size_t all = rollout.steps * rollout.envs;
  const bool sizes = rollout.rewards.size() == all && rollout.values.size() == all &&
                     rollout.terminated.size() == all && rollout.truncated.size() == all &&
                     rollout.final_values.size() == all &&
                     rollout.last_values.size() == rollout.envs && advantages.size() == all &&
                     targets.size() == all;
  MUSTER_CHECK(sizes, "a rollout of " + std::to_string(rollout.steps) + " steps and " +
                          std::to_string(rollout.envs) +
                          " environments with arrays of other sizes");
}

// The critic's value of what comes after step `at`, given that of the observation after it.
float NextValue(const RolloutView& rollout, std::size_t at, float next) {
  if (rollout.terminated[at] != 0) return 0;
  return rollout.truncated[at] != 0 ? rollout.final_values[at] : next;
}

bool Ended(const RolloutView& rollout, std::size_t at) {
  return (rollout.terminated[at] | rollout.truncated[at]) != 0;
}

}  // namespace

void Gae(const RolloutView& rollout, const GaeOptions& options, std::span<float> advantages,
         std::span<float> returns) {
  Check(rollout, advantages, returns);
  const std::size_t envs = rollout.envs;
  for (std::size_t step = rollout.steps; step-- > 0;) {
    const bool last = step + 1 == rollout.steps;
    for (std::size_t env = 0; env < envs; ++env) {
      const std::size_t at = step * envs + env;
      const float after = last ? rollout.last_values[env] : rollout.values[at + envs];
      const float surprise =
          rollout.rewards[at] + options.gamma * NextValue(rollout, at, after) - rollout.values[at];
      const float later = last || Ended(rollout, at) ? 0.0F : advantages[at + envs];
      advantages[at] = surprise + options.gamma * options.lambda * later;
      returns[at] = advantages[at] + rollout.values[at];
    }
  }
}

void VTrace(const RolloutView& rollout, std::span<const float> ratios, const VTraceOptions& options,
            std::span<float> advantages, std::span<float> targets) {
  Check(rollout, advantages, targets);
  MUSTER_CHECK(ratios.size() == rollout.values.size(), "as many ratios as steps");
  const std::size_t envs = rollout.envs;
  for (std::size_t step = rollout.steps; step-- > 0;) {
    const bool last = step + 1 == rollout.steps;
    for (std::size_t env = 0; env < envs; ++env) {
      const std::size_t at = step * envs + env;
      const float value = rollout.values[at];
      const float rho = std::min(options.rho_max, ratios[at]);
      const float c = options.lambda * std::min(options.c_max, ratios[at]);
      // Across an episode's end nothing is carried back: the target there is the value itself.
      const bool cut = last || Ended(rollout, at);
      const float after = last ? rollout.last_values[env] : rollout.values[at + envs];
      const float next_value = NextValue(rollout, at, after);
      const float next_target = cut ? next_value : targets[at + envs];
      const float surprise = rho * (rollout.rewards[at] + options.gamma * next_value - value);
      targets[at] = value + surprise + options.gamma * c * (next_target - next_value);
      advantages[at] = rho * (rollout.rewards[at] + options.gamma * next_target - value);
    }
  }
}

}  // namespace muster::rl
