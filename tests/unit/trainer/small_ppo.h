// A job of [ppo] that takes milliseconds.
#pragma once

#include <string>
#include <utility>
#include <vector>

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

inline rl::PpoOptions WithMemory(rl::PpoOptions options, nn::RecurrentKind kind) {
  options.policy.memory = kind;
  options.policy.memory_units = 12;
  return options;
}

inline rl::PpoOptions SmallVpg(const std::string& environment) {
  rl::PpoOptions options = SmallPpo(environment);
  options.vpg = rl::VpgOptions{.value_steps = 5};
  return options;
}

// Matrices of noise last from one rollout of 24 steps into the next.
inline rl::PpoOptions WithSde(rl::PpoOptions options) {
  options.policy.sde = true;
  options.policy.sde_sample_freq = 5;
  options.policy.log_std = -1;
  options.evaluation.deterministic = false;
  return options;
}

// One of every kind of agent whose state is another one.
inline std::vector<std::pair<std::string, rl::PpoOptions>> SmallPpos() {
  return {{"choices", SmallPpo("CartPole-v1")},
          {"numbers", SmallPpo("Pendulum-v1")},
          {"GRU", WithMemory(SmallPpo("CartPole-v1"), nn::RecurrentKind::kGru)},
          {"gSDE", WithSde(SmallPpo("Pendulum-v1"))},
          {"VPG", SmallVpg("CartPole-v1")},
          {"LSTM", WithMemory(SmallPpo("Pendulum-v1"), nn::RecurrentKind::kLstm)}};
}

}  // namespace muster::test
