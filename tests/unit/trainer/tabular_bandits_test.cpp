// Bandits: single choices by hand, and the curriculum's expectations of the 10-armed testbed.
#include <gtest/gtest.h>

#include <cmath>

#include "envs/tabular/bandit.h"
#include "trainer/rl/tabular/bandit_agent.h"

namespace muster::rl {
namespace {

struct Played {
  double reward = 0;       // Mean over runs and steps.
  double best = 0;         // Share of pulls of the best arm.
  double late_reward = 0;  // Of the last 100 steps.
  double late_best = 0;
};

// 10 arms, 1000 steps, 200 runs: the curriculum's testbed.
Played Play(const BanditOptions& options) {
  constexpr int kRuns = 200, kSteps = 1000, kLate = 100;
  Played played;
  for (std::uint32_t run = 0; run < kRuns; ++run) {
    envs::Bandit env(10, true);
    EXPECT_TRUE(env.Reset(run).ok());
    BanditState state(10, options.initial_value);
    RunRandom random(7, run);
    for (int step = 0; step < kSteps; ++step) {
      const std::size_t arm = ChooseArm(options, state, env.means(), random);
      const double reward =
          env.Step(std::vector<std::int32_t>{static_cast<std::int32_t>(arm)})->reward;
      ObserveReward(options, arm, reward, state);
      const double best = arm == env.best_arm() ? 1 : 0;
      played.reward += reward / kRuns / kSteps;
      played.best += best / kRuns / kSteps;
      if (step < kSteps - kLate) continue;
      played.late_reward += reward / kRuns / kLate;
      played.late_best += best / kRuns / kLate;
    }
  }
  return played;
}

TEST(BanditAgentTest, ChanceEarnsNothingAndTheCheaterTheMost) {
  const Played random = Play({.rule = BanditRule::kRandom});
  EXPECT_NEAR(random.reward, 0, 0.05);
  EXPECT_NEAR(random.best, 0.1, 0.05);
  const Played cheater = Play({.rule = BanditRule::kCheater});
  EXPECT_NEAR(cheater.reward, 1.54, 0.1);  // The expected largest of ten normal means.
  EXPECT_NEAR(cheater.best, 1, 1e-9);
}

// Figures 2.2, 2.3 and 2.4 of Sutton and Barto, near their right edges.
TEST(BanditAgentTest, ExplorationPaysAsInTheBook) {
  const Played greedy = Play({.epsilon = 0});
  const Played little = Play({.epsilon = 0.01});
  const Played some = Play({.epsilon = 0.1});
  EXPECT_NEAR(greedy.late_reward, 1.0, 0.15);
  EXPECT_NEAR(greedy.late_best, 0.36, 0.1);
  EXPECT_NEAR(some.late_best, 0.78, 0.07);
  EXPECT_NEAR(some.late_reward, 1.37, 0.12);
  EXPECT_GT(little.late_reward, greedy.late_reward);
  EXPECT_GT(some.reward, little.reward);
  // Optimism alone explores, where it lasts: with a constant step.
  const Played optimist = Play({.epsilon = 0, .initial_value = 5, .learning_rate = 0.1});
  const Played realist = Play({.epsilon = 0.1, .initial_value = 0, .learning_rate = 0.1});
  EXPECT_GT(optimist.late_best, 0.7);
  EXPECT_GT(optimist.late_best, realist.late_best);
  const Played confident = Play({.rule = BanditRule::kUcb, .confidence = 2});
  EXPECT_GT(confident.late_reward, some.late_reward);
  const Played preferring = Play({.rule = BanditRule::kGradient, .learning_rate = 0.1});
  EXPECT_GT(preferring.late_best, 0.6);
}

TEST(BanditAgentTest, UpperConfidenceChoosesByHand) {
  const BanditOptions options{.rule = BanditRule::kUcb, .confidence = 1};
  RunRandom random(1, 0);
  BanditState state(3, 0);
  // Every arm once, in any order.
  for (int i = 0; i < 3; ++i) {
    const std::size_t arm = ChooseArm(options, state, {}, random);
    EXPECT_EQ(state.pulls[arm], 0);
    ObserveReward(options, arm, 0, state);
  }
  // t = 21: Q + sqrt(ln 21 / N) = 0.5 + 0.501, 0.9 + 0.0 .. with N = 12, 7, 1.
  state.values = {0.5, 0.3, -0.8};
  state.pulls = {12, 7, 1};
  EXPECT_NEAR(0.5 + std::sqrt(std::log(21.0) / 12), 1.0037, 1e-4);
  EXPECT_NEAR(0.3 + std::sqrt(std::log(21.0) / 7), 0.9595, 1e-4);
  EXPECT_NEAR(-0.8 + std::sqrt(std::log(21.0)), 0.9449, 1e-4);
  EXPECT_EQ(ChooseArm(options, state, {}, random), 0U);
  state.values[2] = -0.7;
  EXPECT_EQ(ChooseArm(options, state, {}, random), 2U);
}

// Equation 2.12 by hand: two arms, equal preferences, alpha = 0.5. The first reward meets a
// baseline of 0: 0.5 * (2 - 0) * (1 - 0.5) = 0.5 for the arm, -0.5 for the other.
TEST(BanditAgentTest, GradientMovesPreferencesByHand) {
  const BanditOptions options{.rule = BanditRule::kGradient, .learning_rate = 0.5};
  BanditState state(2, 0);
  ObserveReward(options, 0, 2, state);
  EXPECT_EQ(state.values, (std::vector<double>{0.5, -0.5}));
  EXPECT_EQ(state.reward_mean, 2);
  // A reward like all others teaches nothing.
  ObserveReward(options, 1, 2, state);
  EXPECT_EQ(state.values, (std::vector<double>{0.5, -0.5}));
  const double first = 1 / (1 + std::exp(-1.0));
  EXPECT_DOUBLE_EQ(ArmProbabilities(state.values)[0], first);
  ObserveReward(options, 1, 0, state);
  EXPECT_DOUBLE_EQ(state.values[1], -0.5 + 0.5 * (0 - 2) * (1 - (1 - first)));
  EXPECT_DOUBLE_EQ(state.values[0] + state.values[1], 0);
  EXPECT_DOUBLE_EQ(state.reward_mean, 4.0 / 3);
}

TEST(BanditAgentTest, EstimatesAreMeansOrFollowWithAConstantStep) {
  BanditState mean(1, 5), constant(1, 5);
  for (const double reward : {1.0, 3.0, 8.0}) {
    ObserveReward({}, 0, reward, mean);
    ObserveReward({.learning_rate = 0.5}, 0, reward, constant);
  }
  EXPECT_DOUBLE_EQ(mean.values[0], 4);  // The initial value is forgotten at the first pull.
  EXPECT_DOUBLE_EQ(constant.values[0], ((5.0 + 1) / 2 + 3) / 4 + 4);
  EXPECT_EQ(mean.pulls[0], 3);
}

TEST(BanditAgentTest, PreferencesOfAnySizeAreProbabilities) {
  const auto probabilities = ArmProbabilities(std::vector<double>{1000, 1000, -1000});
  EXPECT_EQ(probabilities, (std::vector<double>{0.5, 0.5, 0}));
}

}  // namespace
}  // namespace muster::rl
