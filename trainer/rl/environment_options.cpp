#include "trainer/rl/environment_options.h"

#include <filesystem>
#include <utility>

#include "base/philox.h"
#include "envs/plugin/plugin_env.h"
#include "envs/wrappers/actions.h"
#include "envs/wrappers/observations.h"

namespace muster::rl {
namespace {

Result<std::unique_ptr<envs::VectorEnv>> WrapActions(const EnvironmentOptions& options,
                                                     std::unique_ptr<envs::VectorEnv> env) {
  if (options.sticky_actions > 0) {
    MUSTER_ASSIGN_OR_RETURN(env, envs::StickyActions(std::move(env), options.sticky_actions));
  }
  const bool box = env->spec().action.kind == envs::SpaceKind::kBox;
  if (options.scale_actions) {
    if (!box) {
      return InvalidArgument("scale_actions: the actions of " + env->spec().name + " are " +
                             env->spec().action.Text() + ", not a box");
    }
    MUSTER_ASSIGN_OR_RETURN(env, envs::ScaleActions(std::move(env)));
  }
  // Outermost: what it hands on lies within the bounds of the box, or of -1..1.
  if (options.clip_actions && box) {
    MUSTER_ASSIGN_OR_RETURN(env, envs::ClipActions(std::move(env)));
  }
  return env;
}

}  // namespace

std::string PlainEnvironmentName(const std::string& name) {
  return envs::IsPlugin(name) ? std::filesystem::path(name).filename().string() : name;
}

nlohmann::json RecipeOf(const EnvironmentOptions& options) {
  nlohmann::json recipe = {{"name", PlainEnvironmentName(options.name)},
                           {"settings", options.settings},
                           {"sticky_actions", options.sticky_actions},
                           {"clip_actions", options.clip_actions},
                           {"scale_actions", options.scale_actions},
                           {"frame_stack", options.frame_stack},
                           {"normalize_observations", options.normalize_observations},
                           {"observation_limit", options.observation_limit},
                           {"sign_rewards", options.sign_rewards},
                           {"normalize_rewards", options.normalize_rewards},
                           {"reward_limit", options.reward_limit}};
  if (!options.plugin_sha256.empty()) recipe["library"] = options.plugin_sha256;
  return recipe;
}

std::uint64_t FirstEnvSeed(std::uint64_t seed, EnvUse use) {
  const PhiloxBlock block =
      RandomBlock(seed, RandomPurpose::kEnvironment, 0, static_cast<std::uint64_t>(use));
  return (static_cast<std::uint64_t>(block[0]) << 16U) ^ block[1];
}

Result<WrappedEnvs> MakeWrappedEnvs(const EnvironmentOptions& options, std::size_t count,
                                    bool evaluation) {
  MUSTER_ASSIGN_OR_RETURN(
      auto env, envs::MakeVectorEnv(options.name, options.settings,
                                    {.envs = count, .autoreset = envs::Autoreset::kSameStep}));
  return WrapEnvs(options, std::move(env), evaluation);
}

Result<WrappedEnvs> WrapEnvs(const EnvironmentOptions& options,
                             std::unique_ptr<envs::VectorEnv> env, bool evaluation) {
  WrappedEnvs wrapped;
  env = envs::CountEpisodes(std::move(env), &wrapped.statistics);
  MUSTER_ASSIGN_OR_RETURN(env, WrapActions(options, std::move(env)));
  if (options.normalize_observations) {
    MUSTER_ASSIGN_OR_RETURN(
        env, envs::NormalizeObservations(std::move(env), {.limit = options.observation_limit},
                                         &wrapped.observations));
  }
  if (options.frame_stack > 1) {
    // What may be a picture, as a CNN sees it: [height, width, channels].
    const std::size_t axes = env->spec().observation.shape.size();
    const bool picture = axes == 2 || axes == 3;
    MUSTER_ASSIGN_OR_RETURN(
        env, envs::StackFrames(std::move(env), options.frame_stack,
                               picture ? envs::StackAxis::kChannels : envs::StackAxis::kFirst));
  }
  if (options.sign_rewards && !evaluation) env = envs::SignRewards(std::move(env));
  if (options.normalize_rewards && !evaluation) {
    env = envs::NormalizeRewards(std::move(env),
                                 {.discount = options.discount, .limit = options.reward_limit},
                                 &wrapped.rewards);
  }
  wrapped.env = std::move(env);
  return wrapped;
}

}  // namespace muster::rl
