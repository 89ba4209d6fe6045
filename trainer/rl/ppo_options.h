// What a job of proximal policy optimisation is, or of vanilla policy gradient, which takes the
// same rollouts, and what is wrong with it.
//
// Defaults are those of Huang et al., "The 37 implementation details of proximal policy
// optimization", ICLR blog track 2022, for classic control (CleanRL's ppo.py), but that truncated
// episodes are bootstrapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/status.h"
#include "trainer/rl/environment_options.h"
#include "trainer/rl/policy.h"

namespace muster::rl {

struct EvaluationOptions {
  std::uint64_t every_updates = 0;  // 0: at the end only.
  std::size_t episodes = 0;         // 0: no evaluation.
  bool deterministic = true;        // The most probable actions; otherwise drawn ones.
  double stop_at_return = 0;        // Read where `stops`: the training has succeeded at this mean.
  bool stops = false;
  bool record_episode = false;  // The last evaluation's first one, beside the last checkpoint.
};

// Vanilla policy gradient: what it has beside PpoOptions. Defaults are Spinning Up's.
struct VpgOptions {
  std::size_t value_steps = 80;  // Of the critic in an update, over the whole batch.
  float value_learning_rate = 1e-3F;
};

struct PpoOptions {
  // Set: vanilla policy gradient. Its update has one step of the policy, whose rate is
  // learning_rate, and reads nothing of minibatches, epochs, clip ranges, value_coefficient,
  // max_policy_lag, vtrace and target_kl.
  std::optional<VpgOptions> vpg = std::nullopt;

  EnvironmentOptions environment;
  PolicyOptions policy;
  EvaluationOptions evaluation;

  std::uint64_t total_steps = 500'000;  // Of all environments together.
  std::size_t envs = 4;                 // Over all lanes, which divide it.
  std::size_t rollout_steps = 128;      // Of each environment between two updates.
  std::size_t minibatches = 4;          // Of an epoch; they divide a lane's samples.
  std::size_t epochs = 4;
  std::size_t lanes = 1;  // A power of two.
  std::uint64_t seed = 0;

  float gamma = 0.99F;
  float gae_lambda = 0.95F;
  bool bootstrap_truncated = true;   // Otherwise a time limit counts as the episode's own end.
  bool normalize_advantages = true;  // Over each minibatch.
  float clip_range = 0.2F;
  bool anneal_clip_range = false;  // To 0, linearly over the updates.
  float value_clip_range = 0.2F;   // 0: the value loss is not clipped.
  float value_coefficient = 0.5F;
  float entropy_coefficient = 0.01F;
  // Update k trains on rollouts of the policy after update k - lag (of the first one, before that):
  // a pipeline of fixed depth, whose rollouts may be collected while earlier ones are trained on.
  std::size_t max_policy_lag = 0;
  // Others run ahead, and an update trains on what has come of policies that lag by at most
  // max_policy_lag, which is above 0. No two runs have the same bits.
  bool asynchronous = false;
  // Who collects may be of another numerics class: the log-probabilities of its actions are those
  // that its policy has here. Then no two runs have the same bits either.
  bool any_rollout_numerics = false;
  bool vtrace = false;  // Advantages and returns by V-trace, which corrects for an older policy.
  float target_kl = 0;  // Ends an update's epochs when the last minibatch has more; 0 = never.

  float learning_rate = 2.5e-4F;
  bool anneal_learning_rate = true;  // To 0, linearly over the updates.
  float adam_epsilon = 1e-5F;
  double gradient_clip_norm = 0.5;  // 0: no clipping.

  std::size_t batch_size() const { return envs * rollout_steps; }
  std::uint64_t updates_total() const { return total_steps / batch_size(); }
  std::size_t lane_envs() const { return envs / lanes; }
  const char* algorithm() const { return vpg ? "vpg" : "ppo"; }
  std::size_t lane_minibatch() const { return batch_size() / lanes / minibatches; }
};

// What is told at submit time.
struct PpoPlan {
  envs::EnvSpec spec;  // As the policy meets it.
  std::uint64_t updates_total = 0;
  std::size_t parameters = 0;
};

// Everything that can be wrong with a job, the environment's settings and the policy for it too.
// Messages name the field.
Result<PpoPlan> PlanPpo(const PpoOptions& options, std::size_t ranks);

// All that the result depends on.
nlohmann::json RecipeOf(const PpoOptions& options);

}  // namespace muster::rl
