// Value and policy iteration against what is known of small problems.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "envs/registry.h"
#include "trainer/rl/tabular/dynamic_programming.h"
#include "trainer/rl/tabular/tabular_task.h"

namespace muster::rl {
namespace {

using envs::TabularModel;

std::unique_ptr<envs::Env> Make(const std::string& name, const envs::EnvOptions& options = {}) {
  auto env = envs::MakeEnv(name, options);
  EXPECT_TRUE(env.ok()) << env.status().message();
  return std::move(*env);
}

// Sweeps until nothing changes by more than 1e-13.
std::vector<double> ByValueIteration(const TabularModel& model, double discount) {
  std::vector<double> values(model.states());
  int sweeps = 0;
  while (ValueIterationSweep(model, discount, values) > 1e-13 && ++sweeps < 100'000) {
  }
  return values;
}

struct Solution {
  std::vector<double> values;
  std::vector<std::size_t> policy;
  int policies = 0;
};

Solution ByPolicyIteration(const TabularModel& model, double discount) {
  Solution solution;
  solution.policy.resize(model.states());
  for (std::size_t changed = 1; changed > 0; ++solution.policies) {
    solution.values = *PolicyValues(model, solution.policy, discount);
    changed = ImprovePolicy(model, solution.values, discount, solution.policy);
  }
  return solution;
}

// Two states: in state 0, action 0 stays and pays 1; action 1 ends with 0 or, as likely, leads to
// state 1 with 2, whose actions end with 10 and 0.
TabularModel TwoStates() {
  TabularModel model(2, 2);
  model.start = {1, 0};
  model.Add(0, 0, {1, 0, 1, false});
  model.Add(0, 1, {0.5, 0, 0, true});
  model.Add(0, 1, {0.5, 1, 2, false});
  model.Add(1, 0, {1, 1, 10, true});
  model.Add(1, 1, {1, 1, 0, true});
  return model;
}

// By hand, gamma = 0.5: V(1) = 10. In state 0, staying for ever is 1 / (1 - 0.5) = 2; leaving is
// 0.5 * (2 + 0.5 * 10) = 3.5.
TEST(TabularSolutionsTest, MatchTheHandWorkedExample) {
  const TabularModel model = TwoStates();
  std::vector<double> values = {0, 0};
  // In place, in order: V(0) = max(1, 0.5 * 2), V(1) = 10.
  EXPECT_EQ(ValueIterationSweep(model, 0.5, values), 10);
  EXPECT_EQ(values, (std::vector<double>{1, 10}));
  EXPECT_EQ(ValueIterationSweep(model, 0.5, values), 2.5);
  EXPECT_EQ(values, (std::vector<double>{3.5, 10}));
  EXPECT_EQ(ValueIterationSweep(model, 0.5, values), 0);
  EXPECT_EQ(GreedyPolicy(model, values, 0.5), (std::vector<std::size_t>{1, 0}));
  EXPECT_EQ(StartValue(model, values), 3.5);

  std::vector<std::size_t> policy = {0, 1};
  EXPECT_EQ(*PolicyValues(model, policy, 0.5), (std::vector<double>{2, 0}));
  // Leaving would be 0.5 * 2: worse, as long as state 1 is played badly.
  EXPECT_EQ(ImprovePolicy(model, std::vector<double>{2, 0}, 0.5, policy), 1U);
  EXPECT_EQ(policy, (std::vector<std::size_t>{0, 0}));
  const Solution solution = ByPolicyIteration(model, 0.5);
  EXPECT_EQ(solution.values, (std::vector<double>{3.5, 10}));
  EXPECT_EQ(solution.policy, (std::vector<std::size_t>{1, 0}));
}

// Russell and Norvig, 3rd edition, figure 17.3: utilities at gamma = 1 with slips of 0.8, 0.1, 0.1.
// There a state's own reward counts; here that of the step into the next, which is 0.04 less.
TEST(TabularSolutionsTest, FindTheUtilitiesOfNorvigsGrid) {
  constexpr int kRows = 3, kColumns = 4, kPrize = 3, kPit = 7, kWall = 5;
  const auto moved = [](int state, int direction) {
    const int row = state / kColumns + (direction == 2 ? 1 : direction == 0 ? -1 : 0);
    const int column = state % kColumns + (direction == 1 ? 1 : direction == 3 ? -1 : 0);
    const bool inside = row >= 0 && row < kRows && column >= 0 && column < kColumns;
    const int next = inside ? row * kColumns + column : state;
    return next == kWall ? state : next;
  };
  TabularModel model(kRows * kColumns, 4);
  for (int s = 0; s < kRows * kColumns; ++s) {
    for (int a = 0; a < 4; ++a) {
      if (s == kPrize || s == kPit || s == kWall) {
        model.Add(s, a, {1, s, 0, true});
        continue;
      }
      for (const int turn : {0, 1, 3}) {
        const int next = moved(s, (a + turn) % 4);
        const bool ends = next == kPrize || next == kPit;
        const double reward = next == kPrize ? 1 : next == kPit ? -1 : -0.04;
        model.Add(s, a, {turn == 0 ? 0.8 : 0.1, next, reward, ends});
      }
    }
  }
  const std::vector<double> values = ByValueIteration(model, 1);
  const std::vector<double> utilities = {0.812, 0.868, 0.918, 0,     0.762, 0,
                                         0.660, 0,     0.705, 0.655, 0.611, 0.388};
  for (std::size_t s = 0; s < utilities.size(); ++s) {
    SCOPED_TRACE(s);
    if (s == kPrize || s == kPit || s == kWall) continue;
    EXPECT_NEAR(values[s] - 0.04, utilities[s], 0.0006);
  }
}

// The curriculum's grid, whose policies it shows: along the top, and for dear steps into the pit.
TEST(TabularSolutionsTest, AgreeWithEachOtherInEveryModel) {
  const std::pair<const char*, envs::EnvOptions> cases[] = {
      {"NorvigGrid-v0", {}},
      {"NorvigGrid-v0", {{"penalty", "-10"}}},
      {"ToyGym-v0", {}},
      {"FrozenLake-v1", {}},
      {"FrozenLake8x8-v1", {}},
      {"CliffWalking-v1", {}},
      {"CliffWalking-v1", {{"is_slippery", "true"}}}};
  for (const auto& [name, options] : cases) {
    SCOPED_TRACE(name);
    const auto env = Make(name, options);
    const std::vector<double> values = ByValueIteration(*env->model(), 0.99);
    const Solution solution = ByPolicyIteration(*env->model(), 0.99);
    EXPECT_LT(solution.policies, 20);
    double difference = 0;
    for (std::size_t s = 0; s < values.size(); ++s) {
      difference = std::max(difference, std::abs(values[s] - solution.values[s]));
    }
    EXPECT_LT(difference, 1e-8);
    // Where several actions are as good, the two may choose another; never a worse one.
    const auto greedy = GreedyPolicy(*env->model(), values, 0.99);
    for (std::size_t s = 0; s < values.size(); ++s) {
      EXPECT_NEAR(ActionValue(*env->model(), values, 0.99, s, greedy[s]),
                  ActionValue(*env->model(), values, 0.99, s, solution.policy[s]), 1e-8);
    }
  }
}

TEST(TabularSolutionsTest, FindTheKnownOptima) {
  const auto start = [](const char* name, const envs::EnvOptions& options, double discount) {
    const auto env = Make(name, options);
    return StartValue(*env->model(), ByValueIteration(*env->model(), discount));
  };
  EXPECT_NEAR(start("CliffWalking-v1", {}, 1), -13, 1e-9);
  EXPECT_NEAR(start("FrozenLake-v1", {}, 1), 14.0 / 17, 1e-6);
  EXPECT_NEAR(start("FrozenLake-v1", {{"is_slippery", "false"}}, 0.9), std::pow(0.9, 5), 1e-12);
  EXPECT_NEAR(start("Taxi-v4", {}, 1), 7.93, 0.01);
  // The policies: played in the environment they earn what the values say.
  const auto cliff = Make("CliffWalking-v1", {{"max_episode_steps", "1000"}});
  const auto policy = GreedyPolicy(*cliff->model(), ByValueIteration(*cliff->model(), 1), 1);
  TabularTask task(Make("CliffWalking-v1", {{"max_episode_steps", "1000"}}));
  EXPECT_EQ(PlayPolicy(task, policy, 1, 0, 1)->reward, -13);
}

// Property: on random models of random sizes, the value of a policy is what its own equation says.
TEST(TabularSolutionsTest, PolicyValuesSolveTheirEquation) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const std::size_t states = 1 + random() % 20, actions = 1 + random() % 4;
    TabularModel model(states, actions);
    std::vector<std::size_t> policy(states);
    for (std::size_t s = 0; s < states; ++s) {
      policy[s] = random() % actions;
      for (std::size_t a = 0; a < actions; ++a) {
        for (int i = 0; i < 2; ++i) {
          const double reward = static_cast<double>(random() % 21) - 10;
          model.Add(s, a,
                    {0.5, static_cast<std::int32_t>(random() % states), reward, random() % 8 == 0});
        }
      }
    }
    const std::vector<double> values = *PolicyValues(model, policy, 0.95);
    for (std::size_t s = 0; s < states; ++s) {
      EXPECT_NEAR(values[s], ActionValue(model, values, 0.95, s, policy[s]), 1e-9);
    }
    const Solution best = ByPolicyIteration(model, 0.95);
    for (std::size_t s = 0; s < states; ++s) EXPECT_GE(best.values[s], values[s] - 1e-9);
  }
}

TEST(TabularSolutionsTest, APolicyThatNeverEndsHasNoValueWithoutADiscount) {
  const TabularModel model = TwoStates();
  const std::vector<std::size_t> stays = {0, 0}, leaves = {1, 0};
  const auto refused = PolicyValues(model, stays, 1);
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(refused.status().message().find("discount below 1"), std::string::npos);
  EXPECT_EQ(*PolicyValues(model, leaves, 1), (std::vector<double>{6, 10}));
}

}  // namespace
}  // namespace muster::rl
