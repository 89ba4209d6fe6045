#include "wire/tabular_rules.h"

#include <string>

namespace muster::wire {
namespace {

using Recipe = v1::TabularRecipe;

SpecProblem LearningProblem(const std::string& name, const v1::TemporalDifference& learning) {
  if (learning.learning_rate() > 0) return {};
  return {"tabular." + name + ".learning_rate", "must be above 0: nothing is learnt at 0"};
}

SpecProblem BanditProblem(const v1::Bandit& bandit) {
  const std::string prefix = "tabular.bandit.";
  if (bandit.has_learning_rate() && bandit.learning_rate() == 0) {
    return {prefix + "learning_rate",
            "must be above 0; without it, the mean of all rewards is taken"};
  }
  if (bandit.exploration() == v1::EXPLORATION_GRADIENT && bandit.initial_value() != 0) {
    return {prefix + "initial_value",
            "has no meaning for gradient, whose preferences are relative"};
  }
  return {};
}

SpecProblem AlgorithmProblem(const Recipe& recipe) {
  switch (recipe.algorithm_case()) {
    case Recipe::ALGORITHM_NOT_SET:
      return {"tabular",
              "has no algorithm; give [tabular.value_iteration], [tabular.policy_iteration], "
              "[tabular.q_learning], [tabular.sarsa], [tabular.expected_sarsa], [tabular.bandit] "
              "or [tabular.random]"};
    case Recipe::kQLearning:
      return LearningProblem("q_learning", recipe.q_learning());
    case Recipe::kSarsa:
      return LearningProblem("sarsa", recipe.sarsa());
    case Recipe::kExpectedSarsa:
      return LearningProblem("expected_sarsa", recipe.expected_sarsa());
    case Recipe::kBandit:
      return BanditProblem(recipe.bandit());
    case Recipe::kPolicyIteration:
      if (recipe.gamma() < 1) return {};
      return {"tabular.gamma",
              "must be below 1 for policy_iteration: a policy that never ends has no value "
              "otherwise"};
    default:
      return {};
  }
}

}  // namespace

SpecProblem TabularProblem(const v1::JobSpec& spec) {
  const Recipe& recipe = spec.tabular();
  if (SpecProblem problem = AlgorithmProblem(recipe); !problem.message.empty()) return problem;
  const bool model = recipe.has_value_iteration() || recipe.has_policy_iteration();
  if (model && recipe.runs() > 1) {
    return {"tabular.runs",
            "must be 1 for value_iteration and policy_iteration, which know no "
            "chance, but is " +
                std::to_string(recipe.runs())};
  }
  if ((model || recipe.has_bandit()) && recipe.episodes_per_step() > 1) {
    return {"tabular.episodes_per_step",
            "must be 1 for what does not learn from episodes, but is " +
                std::to_string(recipe.episodes_per_step())};
  }
  if (recipe.runs() % spec.lanes() == 0) return {};
  return {"lanes", "must divide tabular.runs (" + std::to_string(recipe.runs()) + "), but is " +
                       std::to_string(spec.lanes()) +
                       ": a lane carries whole runs, and one learner is never shared"};
}

}  // namespace muster::wire
