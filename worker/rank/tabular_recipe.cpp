// v1::TabularRecipe in the trainer's terms.
#include "worker/rank/recipes.h"

namespace muster::rank {
namespace {

using rl::BanditOptions;
using rl::BanditRule;
using rl::TabularAlgorithm;
using rl::TdLearning;

TabularAlgorithm AlgorithmOf(const v1::TabularRecipe& recipe) {
  switch (recipe.algorithm_case()) {
    case v1::TabularRecipe::kValueIteration:
      return TabularAlgorithm::kValueIteration;
    case v1::TabularRecipe::kPolicyIteration:
      return TabularAlgorithm::kPolicyIteration;
    case v1::TabularRecipe::kSarsa:
      return TabularAlgorithm::kSarsa;
    case v1::TabularRecipe::kExpectedSarsa:
      return TabularAlgorithm::kExpectedSarsa;
    case v1::TabularRecipe::kRandom:
      return TabularAlgorithm::kRandom;
    case v1::TabularRecipe::kBandit:
      return TabularAlgorithm::kBandit;
    case v1::TabularRecipe::kQLearning:
    case v1::TabularRecipe::ALGORITHM_NOT_SET:  // Refused before.
      break;
  }
  return TabularAlgorithm::kQLearning;
}

TdLearning LearningOf(const v1::TemporalDifference& learning) {
  TdLearning options;
  options.learning_rate = learning.learning_rate();
  options.initial_value = learning.initial_value();
  options.epsilon = learning.epsilon();
  options.epsilon_final =
      learning.has_epsilon_final() ? learning.epsilon_final() : learning.epsilon();
  options.epsilon_decay_fraction = learning.epsilon_decay_fraction();
  return options;
}

BanditRule RuleOf(v1::Exploration rule) {
  if (rule == v1::EXPLORATION_UCB) return BanditRule::kUcb;
  if (rule == v1::EXPLORATION_GRADIENT) return BanditRule::kGradient;
  if (rule == v1::EXPLORATION_RANDOM) return BanditRule::kRandom;
  if (rule == v1::EXPLORATION_CHEATER) return BanditRule::kCheater;
  return BanditRule::kEpsilonGreedy;
}

BanditOptions BanditOf(const v1::Bandit& bandit) {
  BanditOptions options;
  options.rule = RuleOf(bandit.exploration());
  options.epsilon = bandit.epsilon();
  options.initial_value = bandit.initial_value();
  options.confidence = bandit.confidence();
  options.learning_rate = bandit.learning_rate();
  // Preferences have no sample average.
  if (!bandit.has_learning_rate() && options.rule == BanditRule::kGradient) {
    options.learning_rate = 0.1;
  }
  return options;
}

}  // namespace

rl::TabularOptions TabularOptionsOf(const v1::JobSpec& spec) {
  const v1::TabularRecipe& recipe = spec.tabular();
  rl::TabularOptions options;
  options.environment =
      recipe.has_environment_library() ? recipe.environment_library() : recipe.environment();
  options.settings = {recipe.settings().begin(), recipe.settings().end()};
  options.algorithm = AlgorithmOf(recipe);
  if (recipe.has_q_learning()) options.td = LearningOf(recipe.q_learning());
  if (recipe.has_sarsa()) options.td = LearningOf(recipe.sarsa());
  if (recipe.has_expected_sarsa()) options.td = LearningOf(recipe.expected_sarsa());
  options.tolerance = recipe.value_iteration().tolerance();
  options.bandit = BanditOf(recipe.bandit());
  options.discount = recipe.gamma();
  options.steps = recipe.steps();
  options.episodes_per_step = recipe.episodes_per_step();
  options.runs = recipe.runs();
  options.lanes = spec.lanes();
  options.seed = spec.seed();
  options.evaluate_every_steps = recipe.evaluation().every_steps();
  options.evaluation_episodes = recipe.evaluation().episodes();
  options.record_episode = RecordsEpisode(recipe);
  return options;
}

}  // namespace muster::rank
