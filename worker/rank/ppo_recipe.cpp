// v1::PpoRecipe and v1::VpgRecipe in the trainer's terms.
#include "worker/rank/recipes.h"

namespace muster::rank {
namespace {

template <class Recipe>
rl::EnvironmentOptions EnvironmentOf(const Recipe& recipe) {
  const v1::Wrappers& wrappers = recipe.wrappers();
  rl::EnvironmentOptions options;
  options.name =
      recipe.has_environment_library() ? recipe.environment_library() : recipe.environment();
  options.settings = {recipe.settings().begin(), recipe.settings().end()};
  options.sticky_actions = wrappers.sticky_actions();
  options.clip_actions = wrappers.clip_actions();
  options.scale_actions = wrappers.scale_actions();
  options.frame_stack = wrappers.frame_stack();
  options.normalize_observations = wrappers.normalize_observations();
  options.observation_limit = wrappers.observation_limit();
  options.sign_rewards = wrappers.sign_rewards();
  options.normalize_rewards = wrappers.normalize_rewards();
  options.reward_limit = wrappers.reward_limit();
  options.discount = recipe.gamma();
  return options;
}

rl::PolicyOptions PolicyOf(const v1::Policy& policy) {
  rl::PolicyOptions options;
  const bool cnn = policy.kind() == v1::POLICY_KIND_NATURE_CNN;
  options.kind = cnn ? rl::PolicyKind::kNatureCnn : rl::PolicyKind::kMlp;
  if (cnn) options.hidden = {512};
  if (policy.kind() == v1::POLICY_KIND_LINEAR) options.hidden.clear();
  if (policy.hidden_size() > 0) options.hidden = {policy.hidden().begin(), policy.hidden().end()};
  options.activation = ActivationOf(policy.activation());
  options.shared = policy.shared();
  options.orthogonal = policy.orthogonal();
  options.log_std = static_cast<float>(policy.log_std());
  if (policy.memory() == v1::MEMORY_GRU) options.memory = nn::RecurrentKind::kGru;
  if (policy.memory() == v1::MEMORY_LSTM) options.memory = nn::RecurrentKind::kLstm;
  options.sde = policy.use_sde();
  options.sde_sample_freq = policy.sde_sample_freq();
  if (policy.has_memory_units()) options.memory_units = policy.memory_units();
  return options;
}

// What the recipes share.
template <class Recipe>
rl::PpoOptions CommonOptionsOf(const v1::JobSpec& spec, const Recipe& recipe) {
  rl::PpoOptions options;
  options.environment = EnvironmentOf(recipe);
  options.policy = PolicyOf(recipe.policy());
  const v1::PolicyEvaluation& evaluation = recipe.evaluation();
  options.evaluation = {.every_updates = evaluation.every_updates(),
                        .episodes = evaluation.episodes(),
                        .deterministic = evaluation.deterministic(),
                        .stop_at_return = evaluation.stop_at_return(),
                        .stops = evaluation.has_stop_at_return(),
                        .record_episode = RecordsEpisode(recipe)};
  options.total_steps = recipe.total_steps();
  options.envs = recipe.envs();
  options.rollout_steps = recipe.rollout_steps();
  options.lanes = spec.lanes();
  options.seed = spec.seed();
  options.gamma = static_cast<float>(recipe.gamma());
  options.gae_lambda = static_cast<float>(recipe.gae_lambda());
  options.bootstrap_truncated = recipe.bootstrap_truncated();
  options.normalize_advantages = recipe.normalize_advantages();
  options.entropy_coefficient = static_cast<float>(recipe.entropy_coefficient());
  options.learning_rate = static_cast<float>(recipe.learning_rate());
  options.anneal_learning_rate = recipe.learning_rate_schedule() == v1::SCHEDULE_LINEAR;
  options.adam_epsilon = static_cast<float>(recipe.adam_epsilon());
  options.gradient_clip_norm = recipe.gradient_clip_norm();
  return options;
}

}  // namespace

rl::PpoOptions PpoOptionsOf(const v1::JobSpec& spec) {
  if (spec.has_vpg()) {
    rl::PpoOptions options = CommonOptionsOf(spec, spec.vpg());
    options.vpg =
        rl::VpgOptions{.value_steps = spec.vpg().value_steps(),
                       .value_learning_rate = static_cast<float>(spec.vpg().value_learning_rate())};
    return options;
  }
  const v1::PpoRecipe& recipe = spec.ppo();
  rl::PpoOptions options = CommonOptionsOf(spec, recipe);
  options.minibatches = recipe.minibatches();
  options.epochs = recipe.epochs();
  options.clip_range = static_cast<float>(recipe.clip_range());
  options.anneal_clip_range = recipe.clip_range_schedule() == v1::SCHEDULE_LINEAR;
  options.value_clip_range = static_cast<float>(recipe.value_clip_range());
  options.value_coefficient = static_cast<float>(recipe.value_coefficient());
  options.target_kl = static_cast<float>(recipe.target_kl());
  options.max_policy_lag = recipe.max_policy_lag();
  options.asynchronous = recipe.asynchronous();
  options.any_rollout_numerics = recipe.rollout_numerics() == v1::ROLLOUT_NUMERICS_ANY;
  options.vtrace = recipe.vtrace();
  return options;
}

}  // namespace muster::rank
