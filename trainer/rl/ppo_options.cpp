#include "trainer/rl/ppo_options.h"

#include <cmath>
#include <limits>
#include <string>

#include "collectives/lane_tree.h"
#include "trainer/checkpoint/canonical_json.h"

namespace muster::rl {
namespace {

constexpr std::uint64_t kStepsMax = 1ULL << 48U;
constexpr std::size_t kLagMax = 64;
constexpr std::size_t kEnvsMax = std::size_t{1} << 24U;

Status ValidateSizes(const PpoOptions& options) {
  if (options.envs == 0 || options.rollout_steps == 0 || options.minibatches == 0 ||
      options.epochs == 0) {
    return InvalidArgument("envs, rollout_steps, minibatches and epochs must be above 0");
  }
  if (options.envs > kEnvsMax || options.rollout_steps > kEnvsMax ||
      options.batch_size() > std::numeric_limits<std::uint32_t>::max()) {
    return InvalidArgument("envs x rollout_steps is beyond 2^32");
  }
  if (options.envs % options.lanes != 0) {
    return InvalidArgument("envs " + std::to_string(options.envs) +
                           " is not a multiple of lanes (" + std::to_string(options.lanes) +
                           "); each lane carries an equal share of the environments");
  }
  const std::size_t lane_batch = options.batch_size() / options.lanes;
  if (!options.vpg && lane_batch % options.minibatches != 0) {
    return InvalidArgument("minibatches " + std::to_string(options.minibatches) +
                           " do not divide the " + std::to_string(lane_batch) +
                           " steps that a lane collects (envs x rollout_steps / lanes)");
  }
  if (!options.vpg && options.policy.memory && options.lane_envs() % options.minibatches != 0) {
    return InvalidArgument("minibatches " + std::to_string(options.minibatches) +
                           " do not divide the " + std::to_string(options.lane_envs()) +
                           " environments of a lane (envs / lanes): a policy with memory trains "
                           "on whole environments");
  }
  if (options.max_policy_lag > kLagMax) {
    return InvalidArgument("max_policy_lag must be at most " + std::to_string(kLagMax));
  }
  if (options.asynchronous && options.max_policy_lag == 0) {
    return InvalidArgument(
        "asynchronous needs max_policy_lag above 0: nothing can run ahead of a learner that trains "
        "on its newest policy's rollouts alone");
  }
  if (options.total_steps < options.batch_size() || options.total_steps > kStepsMax) {
    return InvalidArgument("total_steps " + std::to_string(options.total_steps) +
                           " must be at least one update's envs x rollout_steps (" +
                           std::to_string(options.batch_size()) + ") and at most 2^48");
  }
  return {};
}

// The policy takes one step and its critic many: what they shared would move with the critic.
Status ValidateVpg(const PpoOptions& options) {
  if (!options.vpg) return {};
  const PolicyOptions& policy = options.policy;
  if (policy.shared || policy.memory || policy.kind == PolicyKind::kNatureCnn) {
    return InvalidArgument(
        "policy: vpg steps actor and critic apart, so they need a network each: no shared = true, "
        "no memory, no nature_cnn");
  }
  if (options.max_policy_lag > 0 || options.asynchronous || options.vtrace) {
    return InvalidArgument("vpg trains on rollouts of the newest policy alone: no max_policy_lag");
  }
  if (options.vpg->value_steps == 0) return InvalidArgument("value_steps must be above 0");
  if (!(std::isfinite(options.vpg->value_learning_rate) && options.vpg->value_learning_rate > 0)) {
    return InvalidArgument("value_learning_rate must be above 0");
  }
  return {};
}

Status ValidateNumbers(const PpoOptions& options) {
  const auto share = [](float value) { return value >= 0 && value <= 1; };
  const auto at_least_0 = [](double value) { return std::isfinite(value) && value >= 0; };
  if (!share(options.gamma)) return InvalidArgument("gamma must be from 0 to 1");
  if (!share(options.gae_lambda)) return InvalidArgument("gae_lambda must be from 0 to 1");
  if (!share(options.clip_range)) return InvalidArgument("clip_range must be from 0 to 1");
  if (!at_least_0(options.value_clip_range)) {
    return InvalidArgument("value_clip_range must be at least 0");
  }
  if (!at_least_0(options.value_coefficient) || !at_least_0(options.entropy_coefficient)) {
    return InvalidArgument("value_coefficient and entropy_coefficient must be at least 0");
  }
  if (!at_least_0(options.target_kl)) return InvalidArgument("target_kl must be at least 0");
  if (!(at_least_0(options.learning_rate) && options.learning_rate > 0)) {
    return InvalidArgument("learning_rate must be above 0");
  }
  if (!(at_least_0(options.adam_epsilon) && options.adam_epsilon > 0)) {
    return InvalidArgument("adam_epsilon must be above 0");
  }
  if (!at_least_0(options.gradient_clip_norm)) {
    return InvalidArgument("gradient_clip_norm must be at least 0");
  }
  if (options.evaluation.stops && options.evaluation.episodes == 0) {
    return InvalidArgument("evaluation.stop_at_return needs evaluation.episodes");
  }
  if (options.evaluation.stops && options.evaluation.every_updates == 0) {
    return InvalidArgument("evaluation.stop_at_return needs evaluation.every_updates");
  }
  return {};
}

}  // namespace

Result<PpoPlan> PlanPpo(const PpoOptions& options, std::size_t ranks) {
  MUSTER_RETURN_IF_ERROR(ValidateLanes(options.lanes, ranks));
  MUSTER_RETURN_IF_ERROR(ValidateSizes(options));
  MUSTER_RETURN_IF_ERROR(ValidateNumbers(options));
  MUSTER_RETURN_IF_ERROR(ValidateVpg(options));
  MUSTER_ASSIGN_OR_RETURN(const WrappedEnvs one, MakeWrappedEnvs(options.environment, 1));
  PpoPlan plan;
  plan.spec = one.env->spec();
  MUSTER_ASSIGN_OR_RETURN(const auto policy,
                          Policy::Create(options.policy, plan.spec.observation, plan.spec.action));
  plan.updates_total = options.updates_total();
  plan.parameters = policy->parameters().parameter_elements();
  return plan;
}

nlohmann::json RecipeOf(const PpoOptions& options) {
  const EvaluationOptions& evaluation = options.evaluation;
  nlohmann::json recipe = {{"algorithm", options.algorithm()},
                           {"environment", RecipeOf(options.environment)},
                           {"policy", RecipeOf(options.policy)},
                           {"evaluation",
                            {{"every_updates", evaluation.every_updates},
                             {"episodes", evaluation.episodes},
                             {"deterministic", evaluation.deterministic},
                             {"stop_at_return", nullptr}}},
                           {"total_steps", options.total_steps},
                           {"envs", options.envs},
                           {"rollout_steps", options.rollout_steps},
                           {"minibatches", options.minibatches},
                           {"epochs", options.epochs},
                           {"lanes", options.lanes},
                           {"seed", options.seed},
                           {"gamma", Readable(options.gamma)},
                           {"gae_lambda", Readable(options.gae_lambda)},
                           {"bootstrap_truncated", options.bootstrap_truncated},
                           {"normalize_advantages", options.normalize_advantages},
                           {"clip_range", Readable(options.clip_range)},
                           {"anneal_clip_range", options.anneal_clip_range},
                           {"value_clip_range", Readable(options.value_clip_range)},
                           {"value_coefficient", Readable(options.value_coefficient)},
                           {"entropy_coefficient", Readable(options.entropy_coefficient)},
                           {"max_policy_lag", options.max_policy_lag},
                           {"vtrace", options.vtrace},
                           {"target_kl", Readable(options.target_kl)},
                           {"learning_rate", Readable(options.learning_rate)},
                           {"anneal_learning_rate", options.anneal_learning_rate},
                           {"adam_epsilon", Readable(options.adam_epsilon)},
                           {"gradient_clip_norm", options.gradient_clip_norm}};
  if (evaluation.stops) recipe["evaluation"]["stop_at_return"] = evaluation.stop_at_return;
  if (options.asynchronous) recipe["asynchronous"] = true;
  if (options.any_rollout_numerics) recipe["rollout_numerics"] = "any";
  if (options.vpg) {
    for (const char* name :
         {"minibatches", "epochs", "clip_range", "anneal_clip_range", "value_clip_range",
          "value_coefficient", "max_policy_lag", "vtrace", "target_kl"}) {
      recipe.erase(name);
    }
    recipe["value_steps"] = options.vpg->value_steps;
    recipe["value_learning_rate"] = Readable(options.vpg->value_learning_rate);
  }
  return recipe;
}

}  // namespace muster::rl
