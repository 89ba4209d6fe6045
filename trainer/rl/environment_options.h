// Which environment a job trains in, and what lies between it and the policy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/status.h"
#include "envs/registry.h"
#include "envs/wrappers/moments.h"
#include "envs/wrappers/rewards.h"

namespace muster::rl {

struct EnvironmentOptions {
  std::string name;             // Of the registry, or the path of a plug-in.
  std::string plugin_sha256;    // Of a plug-in: its bytes; empty = not told in checkpoints.
  envs::EnvOptions settings;    // The environment's own.
  double sticky_actions = 0;    // Probability; 0 = none.
  bool clip_actions = true;     // Of a box: the environment gets what lies within its bounds.
  bool scale_actions = false;   // Of a box: -1..1 becomes its bounds.
  std::size_t frame_stack = 1;  // Newest observations that the policy sees; 1 = the last.
  bool normalize_observations = false;
  double observation_limit = 10;  // Of normalised ones.
  bool sign_rewards = false;
  bool normalize_rewards = false;
  double reward_limit = 10;  // Of normalised ones.
  double discount = 0.99;    // Of the returns that rewards are normalised by.
};

// What a checkpoint must agree on to be resumed: of a plug-in its file's name and its bytes, not
// where it lies.
nlohmann::json RecipeOf(const EnvironmentOptions& options);

// "walk.so" for a plug-in, wherever it lies; a name of the registry as it is.
std::string PlainEnvironmentName(const std::string& name);

// Environments as a policy meets them. `statistics` and the normalisers are other faces of `env`.
struct WrappedEnvs {
  std::unique_ptr<envs::VectorEnv> env;
  envs::EpisodeStatistics* statistics = nullptr;  // Of rewards as the environment gives them.
  envs::Normalizer* observations = nullptr;       // Null where they are not normalised.
  envs::Normalizer* rewards = nullptr;
};

// `count` of them, reset within the step. kNotFound for an unknown environment with the nearest
// names, kInvalidArgument for settings or wrappers that do not fit it. For an `evaluation` rewards
// stay as the environment gives them.
Result<WrappedEnvs> MakeWrappedEnvs(const EnvironmentOptions& options, std::size_t count,
                                    bool evaluation = false);

// Puts what lies between around environments that are there already.
Result<WrappedEnvs> WrapEnvs(const EnvironmentOptions& options,
                             std::unique_ptr<envs::VectorEnv> env, bool evaluation);

// The seed of the environment with number 0: away from those of jobs with neighbouring seeds, and
// in training away from those of evaluations.
enum class EnvUse : std::uint64_t { kTraining = 0, kEvaluation = 1 };
std::uint64_t FirstEnvSeed(std::uint64_t seed, EnvUse use);

// The moments that normalisers use: trainer state that belongs to a policy version.
struct NormalizerMoments {
  envs::Moments observations{0};
  envs::Moments rewards{0};
};

}  // namespace muster::rl
