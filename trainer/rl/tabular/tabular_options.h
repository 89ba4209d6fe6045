// What a tabular job is asked to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/status.h"
#include "envs/env.h"
#include "envs/options.h"
#include "trainer/rl/tabular/bandit_agent.h"

namespace muster::rl {

enum class TabularAlgorithm : std::uint8_t {
  kValueIteration,
  kPolicyIteration,
  kQLearning,
  kSarsa,
  kExpectedSarsa,
  kRandom,
  kBandit,
};
const char* NameOf(TabularAlgorithm algorithm);  // "q_learning": as in the job file.

// The two that compute from the environment's model and need not play.
constexpr bool UsesModel(TabularAlgorithm algorithm) {
  return algorithm == TabularAlgorithm::kValueIteration ||
         algorithm == TabularAlgorithm::kPolicyIteration;
}

// Of Q-learning and both kinds of SARSA. Epsilon falls linearly from the first value to the second
// over the first `epsilon_decay_fraction` of the steps.
struct TdLearning {
  double learning_rate = 0.1;
  double initial_value = 0;
  double epsilon = 0.1;
  double epsilon_final = 0.1;
  double epsilon_decay_fraction = 1;

  double EpsilonAt(std::uint64_t step, std::uint64_t steps_total) const;
};

struct TabularOptions {
  std::string environment;    // Of the registry, or the path of a plug-in.
  std::string plugin_sha256;  // Of a plug-in: its bytes; empty = not told in checkpoints.
  envs::EnvOptions settings;
  TabularAlgorithm algorithm = TabularAlgorithm::kQLearning;
  TdLearning td;         // kQLearning, kSarsa, kExpectedSarsa.
  double tolerance = 0;  // kValueIteration: the change of a sweep at which it ends.
  BanditOptions bandit;  // kBandit.
  double discount = 0.99;
  std::uint64_t steps = 1000;
  std::uint64_t episodes_per_step = 1;
  std::size_t runs = 1;  // Independent learners.
  std::size_t lanes = 1;
  std::uint64_t seed = 0;
  std::uint64_t evaluate_every_steps = 0;  // 0: after the last step only.
  std::uint64_t evaluation_episodes = 100;
  bool record_episode = false;  // Of the first run's policy, beside the last checkpoint.
};

// The environment for these options. Where its episodes have no time limit of their own, and the
// options give none, they get one of 10,000 steps, so that every step of a job ends; a bandit
// is one episode without end. Errors begin with the name of the job file's field: an unknown
// environment with the nearest names, spaces that no table can hold, no exact model for value and
// policy iteration, more than one state for a bandit.
Result<std::unique_ptr<envs::Env>> MakeTabularEnvironment(const TabularOptions& options);

// kInvalidArgument where numbers do not fit: lanes that do not divide the runs, ranks that do not
// divide the lanes, several runs of what knows no chance, tables that take more than 4 GiB.
Status CheckTabularOptions(const TabularOptions& options, std::size_t ranks);

// Both checks; what is told at submit time.
struct TabularPlan {
  std::uint64_t steps_total = 0;
  std::size_t table_elements = 0;  // Learnt numbers, over all runs.
};
Result<TabularPlan> PlanTabular(const TabularOptions& options, std::size_t ranks);

// What a checkpoint must agree on to be resumed.
nlohmann::json RecipeOf(const TabularOptions& options);

}  // namespace muster::rl
