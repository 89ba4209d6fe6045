#include "wire/policy_rules.h"

#include <string>

namespace muster::wire {
namespace {

std::uint64_t BatchOf(std::uint64_t envs, std::uint64_t steps) { return envs * steps; }

SpecProblem EvaluationProblem(const v1::PolicyEvaluation& evaluation, const std::string& name) {
  if (!evaluation.has_stop_at_return()) return {};
  const std::string field = name + "evaluation.stop_at_return";
  if (evaluation.episodes() == 0) return {field, "needs evaluation.episodes above 0"};
  if (!evaluation.has_every_updates()) return {field, "needs evaluation.every_updates"};
  return {};
}

// What the recipes share; `name` is "ppo." or "vpg.".
template <class Recipe>
SpecProblem RolloutProblem(const v1::JobSpec& spec, const Recipe& recipe, const std::string& name) {
  if (recipe.envs() % spec.lanes() != 0) {
    return {name + "envs", "must be a multiple of lanes (" + std::to_string(spec.lanes()) +
                               "), but is " + std::to_string(recipe.envs())};
  }
  const std::uint64_t batch = BatchOf(recipe.envs(), recipe.rollout_steps());
  if (recipe.total_steps() < batch) {
    return {name + "total_steps", "must be at least one update's envs x rollout_steps (" +
                                      std::to_string(batch) + "), but is " +
                                      std::to_string(recipe.total_steps())};
  }
  if (recipe.learning_rate() <= 0) return {name + "learning_rate", "must be above 0"};
  if (recipe.adam_epsilon() <= 0) return {name + "adam_epsilon", "must be above 0"};
  if (recipe.learning_rate_schedule() == v1::SCHEDULE_COSINE) {
    return {name + "learning_rate_schedule", "must be linear or constant"};
  }
  const v1::Policy& policy = recipe.policy();
  if (policy.kind() == v1::POLICY_KIND_LINEAR && policy.hidden_size() > 0) {
    return {name + "policy.hidden", "stands beside kind = \"linear\", which has no hidden layer"};
  }
  if (policy.memory() == v1::MEMORY_NONE && policy.has_memory_units()) {
    return {name + "policy.memory_units", "needs memory = \"gru\" or \"lstm\""};
  }
  if (policy.has_sde_sample_freq() && !policy.use_sde()) {
    return {name + "policy.sde_sample_freq", "needs use_sde = true"};
  }
  return EvaluationProblem(recipe.evaluation(), name);
}

SpecProblem MinibatchProblem(const v1::JobSpec& spec) {
  const v1::PpoRecipe& recipe = spec.ppo();
  const std::string but = "but is " + std::to_string(recipe.minibatches());
  const std::uint64_t batch = BatchOf(recipe.envs(), recipe.rollout_steps()) / spec.lanes();
  if (batch % recipe.minibatches() != 0) {
    return {"ppo.minibatches", "must divide the " + std::to_string(batch) +
                                   " steps that a lane collects (envs x rollout_steps / lanes), " +
                                   but};
  }
  const std::uint32_t envs = recipe.envs() / spec.lanes();
  if (recipe.policy().memory() == v1::MEMORY_NONE || envs % recipe.minibatches() == 0) return {};
  return {"ppo.minibatches", "must divide the " + std::to_string(envs) +
                                 " environments of a lane (envs / lanes), for a policy with memory "
                                 "trains on whole environments, " +
                                 but};
}

}  // namespace

bool CollectsRollouts(const v1::JobSpec& spec) { return spec.has_ppo() || spec.has_vpg(); }

std::string WhyNotRepeatable(const v1::JobSpec& spec) {
  std::string why;
  if (spec.ppo().asynchronous()) {
    why = "ppo.asynchronous trains on rollouts as they come, of policies that lag by at most " +
          std::to_string(spec.ppo().max_policy_lag()) + " updates";
  }
  if (spec.ppo().rollout_numerics() == v1::ROLLOUT_NUMERICS_ANY) {
    why += why.empty() ? "" : "; ";
    why += "ppo.rollout_numerics = \"any\" lets workers of any numerics class collect";
  }
  return why;
}

SpecProblem PpoProblem(const v1::JobSpec& spec) {
  const v1::PpoRecipe& recipe = spec.ppo();
  if (SpecProblem shared = RolloutProblem(spec, recipe, "ppo."); !shared.message.empty()) {
    return shared;
  }
  if (recipe.clip_range_schedule() == v1::SCHEDULE_COSINE) {
    return {"ppo.clip_range_schedule", "must be constant or linear"};
  }
  if (recipe.asynchronous() && recipe.max_policy_lag() == 0) {
    return {"ppo.asynchronous",
            "needs max_policy_lag above 0: nothing may run ahead of the newest policy otherwise"};
  }
  if (recipe.asynchronous() && spec.resources().rollout_workers() == 0) {
    return {"ppo.asynchronous", "needs resources.rollout_workers: who else should run ahead?"};
  }
  if (recipe.rollout_numerics() == v1::ROLLOUT_NUMERICS_ANY &&
      spec.resources().rollout_workers() == 0) {
    return {"ppo.rollout_numerics", "needs resources.rollout_workers: it says who may be one"};
  }
  return MinibatchProblem(spec);
}

SpecProblem VpgProblem(const v1::JobSpec& spec) {
  const v1::VpgRecipe& recipe = spec.vpg();
  if (SpecProblem shared = RolloutProblem(spec, recipe, "vpg."); !shared.message.empty()) {
    return shared;
  }
  if (recipe.value_learning_rate() <= 0) return {"vpg.value_learning_rate", "must be above 0"};
  // The policy takes one step and its critic many: what they shared would move with the critic.
  const std::string why = ": actor and critic are stepped apart and need a network each";
  const v1::Policy& policy = recipe.policy();
  if (policy.kind() == v1::POLICY_KIND_NATURE_CNN) {
    return {"vpg.policy.kind", "must be mlp or linear" + why};
  }
  if (policy.shared()) return {"vpg.policy.shared", "must be false" + why};
  if (policy.memory() != v1::MEMORY_NONE) return {"vpg.policy.memory", "must be none" + why};
  return {};
}

}  // namespace muster::wire
