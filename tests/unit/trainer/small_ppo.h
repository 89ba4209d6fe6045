// A job of [ppo] that takes milliseconds.
#pragma once

#include <string>

#include "trainer/rl/ppo_options.h"

namespace muster::test {

// Three updates with everything that has state: normalisers, episodes that end in between.
inline rl::PpoOptions SmallPpo(const std::string& environment) {
  rl::PpoOptions options;
  options.environment.name = environment;
  options.environment.settings["max_episode_steps"] = "30";
  options.environment.normalize_observations = true;
  options.environment.normalize_rewards = true;
  options.policy.hidden = {16};
  options.envs = 8;
  options.rollout_steps = 24;
  options.total_steps = 8 * 24 * 3;
  options.lanes = 4;
  options.seed = 3;
  options.epochs = 2;
  options.minibatches = 2;
  options.evaluation.episodes = 6;
  options.evaluation.every_updates = 2;
  return options;
}

}  // namespace muster::test
