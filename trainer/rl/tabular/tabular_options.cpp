#include "trainer/rl/tabular/tabular_options.h"

#include <algorithm>

#include "envs/plugin/plugin_env.h"
#include "envs/registry.h"
#include "envs/tabular/model.h"
#include "trainer/rl/environment_options.h"
#include "trainer/rl/tabular/tabular_task.h"

namespace muster::rl {
namespace {

constexpr const char* kLimit = "max_episode_steps";
constexpr const char* kLimitSteps = "10000";
// Elimination takes states^3 / 3 multiplications and states^2 numbers.
constexpr std::size_t kPolicyIterationStatesMax = 4096;
constexpr std::uint64_t kTableElementsMax = 1ULL << 29U;

Status CheckModel(const TabularOptions& options, const envs::Env& env) {
  const std::string name = NameOf(options.algorithm);
  if (env.model() == nullptr) {
    return InvalidArgument("tabular.environment: " + name + " needs an exact model, and " +
                           PlainEnvironmentName(options.environment) +
                           " tells none; use q_learning or sarsa");
  }
  if (options.algorithm == TabularAlgorithm::kPolicyIteration &&
      env.model()->states() > kPolicyIterationStatesMax) {
    return InvalidArgument("tabular.environment: " + name + " solves for all states at once, " +
                           std::to_string(kPolicyIterationStatesMax) + " at most, and " +
                           PlainEnvironmentName(options.environment) + " has " +
                           std::to_string(env.model()->states()) + "; use value_iteration");
  }
  return {};
}

Status CheckBandit(const TabularOptions& options, const envs::Env& env) {
  if (TabularTask::Check(env.spec()).ok()) {
    const std::vector<std::int32_t>& states = env.spec().observation.choices;
    if (std::any_of(states.begin(), states.end(), [](std::int32_t n) { return n != 1; })) {
      return InvalidArgument(
          "tabular.environment: a bandit has one state, and the observations of " +
          PlainEnvironmentName(options.environment) + " are " + env.spec().observation.Text() +
          "; use ArmedBanditTestbed-v0, or q_learning");
    }
  }
  if (options.bandit.rule == BanditRule::kCheater && env.expected_rewards().empty()) {
    return InvalidArgument(
        "tabular.bandit.exploration: a cheater needs to know the mean rewards, and " +
        PlainEnvironmentName(options.environment) + " does not tell them");
  }
  return {};
}

}  // namespace

const char* NameOf(TabularAlgorithm algorithm) {
  switch (algorithm) {
    case TabularAlgorithm::kValueIteration:
      return "value_iteration";
    case TabularAlgorithm::kPolicyIteration:
      return "policy_iteration";
    case TabularAlgorithm::kQLearning:
      return "q_learning";
    case TabularAlgorithm::kSarsa:
      return "sarsa";
    case TabularAlgorithm::kExpectedSarsa:
      return "expected_sarsa";
    case TabularAlgorithm::kRandom:
      return "random";
    case TabularAlgorithm::kBandit:
      break;
  }
  return "bandit";
}

double TdLearning::EpsilonAt(std::uint64_t step, std::uint64_t steps_total) const {
  const double decay = epsilon_decay_fraction * static_cast<double>(steps_total);
  if (static_cast<double>(step) >= decay) return epsilon_final;
  return epsilon + (epsilon_final - epsilon) * (static_cast<double>(step) / decay);
}

Result<std::unique_ptr<envs::Env>> MakeTabularEnvironment(const TabularOptions& options) {
  envs::EnvOptions settings = options.settings;
  const bool bandit = options.algorithm == TabularAlgorithm::kBandit;
  const bool limited = settings.contains(kLimit);
  if (bandit && !limited) settings[kLimit] = "0";
  Result<std::unique_ptr<envs::Env>> env = envs::MakeEnv(options.environment, settings);
  if (env.ok() && !bandit && !limited && (*env)->spec().steps_max == 0) {
    settings[kLimit] = kLimitSteps;
    env = envs::MakeEnv(options.environment, settings);
  }
  if (!env.ok()) {
    const bool unknown =
        env.status().code() == StatusCode::kNotFound || envs::IsPlugin(options.environment);
    return InvalidArgument(std::string(unknown ? "tabular.environment: " : "tabular.settings: ") +
                           env.status().message());
  }
  MUSTER_RETURN_IF_ERROR(TabularTask::Check((*env)->spec()).During("tabular.environment"));
  if (UsesModel(options.algorithm)) MUSTER_RETURN_IF_ERROR(CheckModel(options, **env));
  if (bandit) MUSTER_RETURN_IF_ERROR(CheckBandit(options, **env));
  return env;
}

Status CheckTabularOptions(const TabularOptions& options, std::size_t ranks) {
  const std::string runs = std::to_string(options.runs);
  if (UsesModel(options.algorithm) && options.runs > 1) {
    return InvalidArgument("tabular.runs: " + std::string(NameOf(options.algorithm)) +
                           " knows no chance, so one run is enough; here are " + runs);
  }
  if (options.lanes == 0 || options.runs % options.lanes != 0) {
    return InvalidArgument("lanes: " + std::to_string(options.lanes) +
                           " do not divide tabular.runs (" + runs +
                           "); a lane carries whole runs, and one run is never shared");
  }
  if (ranks == 0 || options.lanes % ranks != 0) {
    return InvalidArgument("resources.ranks: " + std::to_string(ranks) + " do not divide lanes (" +
                           std::to_string(options.lanes) + ")");
  }
  if (options.algorithm == TabularAlgorithm::kPolicyIteration && options.discount >= 1) {
    return InvalidArgument(
        "tabular.gamma: policy_iteration needs one below 1, since a policy that never ends has "
        "no value otherwise");
  }
  return {};
}

Result<TabularPlan> PlanTabular(const TabularOptions& options, std::size_t ranks) {
  MUSTER_RETURN_IF_ERROR(CheckTabularOptions(options, ranks));
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<envs::Env> env, MakeTabularEnvironment(options));
  const TabularTask task(std::move(env));
  TabularPlan plan;
  plan.steps_total = options.steps;
  const std::size_t per_state = UsesModel(options.algorithm) ? 1 : task.actions();
  plan.table_elements = options.runs * task.states() * per_state;
  if (plan.table_elements <= kTableElementsMax) return plan;
  return InvalidArgument("tabular.runs: " + std::to_string(options.runs) + " tables of " +
                         std::to_string(task.states()) + " states and " +
                         std::to_string(task.actions()) + " actions take more than 4 GiB");
}

nlohmann::json RecipeOf(const TabularOptions& options) {
  nlohmann::json recipe = {{"kind", "tabular"},
                           {"environment", PlainEnvironmentName(options.environment)},
                           {"settings", options.settings},
                           {"algorithm", NameOf(options.algorithm)},
                           {"gamma", options.discount},
                           {"steps", options.steps},
                           {"episodes_per_step", options.episodes_per_step},
                           {"runs", options.runs},
                           {"lanes", options.lanes},
                           {"seed", options.seed},
                           {"evaluate_every_steps", options.evaluate_every_steps},
                           {"evaluation_episodes", options.evaluation_episodes}};
  if (!options.plugin_sha256.empty()) recipe["library"] = options.plugin_sha256;
  switch (options.algorithm) {
    case TabularAlgorithm::kValueIteration:
      recipe["tolerance"] = options.tolerance;
      break;
    case TabularAlgorithm::kQLearning:
    case TabularAlgorithm::kSarsa:
    case TabularAlgorithm::kExpectedSarsa:
      recipe["learning_rate"] = options.td.learning_rate;
      recipe["initial_value"] = options.td.initial_value;
      recipe["epsilon"] = {options.td.epsilon, options.td.epsilon_final,
                           options.td.epsilon_decay_fraction};
      break;
    case TabularAlgorithm::kBandit:
      recipe["rule"] = static_cast<int>(options.bandit.rule);
      recipe["learning_rate"] = options.bandit.learning_rate;
      recipe["initial_value"] = options.bandit.initial_value;
      recipe["epsilon"] = options.bandit.epsilon;
      recipe["confidence"] = options.bandit.confidence;
      break;
    case TabularAlgorithm::kPolicyIteration:
    case TabularAlgorithm::kRandom:
      break;
  }
  return recipe;
}

}  // namespace muster::rl
