// What the curriculum expects of its small environments, from their exact models and by play.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "envs/registry.h"
#include "envs/tabular/bandit.h"
#include "envs/tabular/model.h"

namespace muster::envs {
namespace {

std::unique_ptr<Env> Make(const std::string& name, const EnvOptions& options = {}) {
  auto env = MakeEnv(name, options);
  EXPECT_TRUE(env.ok()) << env.status().message();
  return std::move(*env);
}

double ActionValue(const TabularModel& model, const std::vector<double>& values, double discount,
                   std::size_t state, std::size_t action) {
  double value = 0;
  for (const TabularOutcome& o : model.Outcomes(state, action)) {
    const double later = o.terminated ? 0 : values[static_cast<std::size_t>(o.next)];
    value += o.probability * (o.reward + discount * later);
  }
  return value;
}

// V and the best actions by value iteration, to a change below 1e-12.
std::pair<std::vector<double>, std::vector<std::size_t>> Solve(const TabularModel& model,
                                                               double discount) {
  std::vector<double> values(model.states());
  std::vector<std::size_t> best(model.states());
  for (double change = 1; change > 1e-12;) {
    change = 0;
    for (std::size_t s = 0; s < model.states(); ++s) {
      double value = -INFINITY;
      for (std::size_t a = 0; a < model.actions(); ++a) {
        const double candidate = ActionValue(model, values, discount, s, a);
        if (candidate > value + 1e-13) {
          value = candidate;
          best[s] = a;
        }
      }
      change = std::max(change, std::abs(value - values[s]));
      values[s] = value;
    }
  }
  return {values, best};
}

// The best policy goes right first: 0 + 0.99 * 2. At random, half of the episodes go left: 1.
TEST(ToyGymTest, TheCheaterGets198AndChance149) {
  const auto env = Make("ToyGym-v0");
  const double discount = 0.99;
  const auto play = [&](auto choose) {
    double total = 0;
    for (int episode = 0; episode < 4000; ++episode) {
      EXPECT_TRUE(env->Reset(episode == 0 ? std::optional<std::uint64_t>(5) : std::nullopt).ok());
      double weight = 1;
      for (bool ended = false; !ended;) {
        const Transition step = *env->Step(std::vector<std::int32_t>{choose()});
        total += weight * step.reward;
        weight *= discount;
        ended = step.ended();
      }
    }
    return total / 4000;
  };
  NumpyRandom random(1);
  EXPECT_NEAR(play([] { return 1; }), 1.98, 1e-9);
  EXPECT_NEAR(play([&] { return static_cast<std::int32_t>(random.Integers(0, 2)); }), 1.49, 0.03);
}

// With costly steps it pays to run for the pit.
TEST(NorvigGridTest, TheBestPolicyDependsOnThePenalty) {
  const auto policy = [](const char* penalty) {
    const auto env = Make("NorvigGrid-v0", {{"penalty", penalty}});
    return Solve(*env->model(), 1).second;
  };
  constexpr std::size_t kUpwards = 0, kToTheRight = 1;
  // Beside the prize always to it; at the start up the safe side, along the top.
  const auto usual = policy("-0.04");
  EXPECT_EQ(usual[2], kToTheRight);
  EXPECT_EQ(usual[0], kToTheRight);
  EXPECT_EQ(usual[8], kUpwards);
  EXPECT_EQ(usual[4], kUpwards);
  const auto costly = policy("-10");
  EXPECT_EQ(costly[6], kToTheRight);  // Into the pit.
  EXPECT_EQ(costly[11], kUpwards);
}

// Worked by hand: from the square left of the prize, right reaches it with 0.7; the three slips
// stay (up), come to the square below and to the one on the left.
TEST(NorvigGridTest, ItsOutcomesAreTheCurriculums) {
  const auto env = Make("NorvigGrid-v0");
  const auto outcomes = env->model()->Outcomes(2, 1);
  ASSERT_EQ(outcomes.size(), 4U);
  const std::array<std::int32_t, 4> next = {2, 3, 6, 1};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(outcomes[i].next, next[i]);
    EXPECT_EQ(outcomes[i].probability, i == 1 ? 0.7 : 0.1);
    EXPECT_EQ(outcomes[i].reward, i == 1 ? 1 : -0.04);
    EXPECT_EQ(outcomes[i].terminated, i == 1);
  }
}

// Known optima: Sutton and Barto's shortest path along the cliff, and Gymnasium's comments on
// FrozenLake (0.74 in 100 steps; 0.82 without a limit) and Taxi.
TEST(ToyTextTest, ModelsHaveTheirKnownOptima) {
  const auto optimum = [](const std::string& name, const EnvOptions& options, double discount) {
    const auto env = Make(name, options);
    const TabularModel& model = *env->model();
    const auto values = Solve(model, discount).first;
    double mean = 0;
    for (std::size_t s = 0; s < model.states(); ++s) mean += model.start[s] * values[s];
    return mean;
  };
  EXPECT_NEAR(optimum("CliffWalking-v1", {}, 1), -13, 1e-9);
  EXPECT_NEAR(optimum("FrozenLake-v1", {}, 1), 14.0 / 17, 1e-6);
  EXPECT_NEAR(optimum("FrozenLake-v1", {{"is_slippery", "false"}}, 0.9), std::pow(0.9, 5), 1e-12);
  EXPECT_NEAR(optimum("Taxi-v4", {}, 1), 7.93, 0.01);
}

TEST(BanditTest, ChanceGetsNothingAndTheBestArmIsOneInTen) {
  Bandit env(10, true);
  NumpyRandom random(3);
  double rewards = 0, best = 0, means = 0;
  constexpr int kRuns = 200, kSteps = 200;
  for (int run = 0; run < kRuns; ++run) {
    ASSERT_TRUE(env.Reset(static_cast<std::uint64_t>(run)).ok());
    for (int step = 0; step < kSteps; ++step) {
      const auto arm = static_cast<std::int32_t>(random.Integers(0, 10));
      rewards += env.Step(std::vector<std::int32_t>{arm})->reward;
      best += static_cast<std::size_t>(arm) == env.best_arm() ? 1 : 0;
    }
    means += env.means()[env.best_arm()];
  }
  EXPECT_NEAR(rewards / kRuns / kSteps, 0, 0.05);
  EXPECT_NEAR(best / kRuns / kSteps, 0.1, 0.02);
  EXPECT_NEAR(means / kRuns, 1.54, 0.1);  // The expected largest of ten normal numbers.
}

TEST(BanditTest, MeansDriftWhereTheyAreNotStationary) {
  Bandit env(40, false);
  ASSERT_TRUE(env.Reset(2).ok());
  for (const double mean : env.means()) EXPECT_EQ(mean, 0);
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(env.Step(std::vector<std::int32_t>{0}).ok());
  double squares = 0;
  for (const double mean : env.means()) squares += mean * mean;
  EXPECT_NEAR(std::sqrt(squares / 40), 1, 0.3);  // 0.01 * sqrt(10,000)
}

TEST(ProbesTest, RewardsAndEndsAreThoseOfTheirList) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    const auto step = [&](Env& env, std::int32_t action) {
      return *env.Step(std::vector<std::int32_t>{action});
    };
    const auto begin = [&](const char* name) {
      auto env = Make(name);
      EXPECT_TRUE(env->Reset(seed).ok());
      return env;
    };
    const Transition first = step(*begin("Probe1-v0"), 0);
    EXPECT_TRUE(first.reward == 1 && first.terminated);
    const auto two = begin("Probe2-v0");
    const double seen = two->observation()[0];
    EXPECT_EQ(std::abs(seen), 1);
    EXPECT_EQ(step(*two, 0).reward, seen);
    const auto three = begin("Probe3-v0");
    const Transition early = step(*three, 0), late = step(*three, 0);
    EXPECT_TRUE(early.reward == 0 && !early.terminated && late.reward == 1 && late.terminated);
    for (const std::int32_t action : {0, 1}) {
      EXPECT_EQ(step(*begin("Probe4-v0"), action).reward, action == 1 ? 1 : -1);
      const auto five = begin("Probe5-v0");
      const double wanted = five->observation()[0];
      EXPECT_EQ(step(*five, action).reward, action == wanted ? 1 : -1);
    }
  }
}

// From every state: turning each dial the shorter way round opens the lock after as many steps as
// the farthest dial has to go, and no dial can go faster.
TEST(DialLockTest, TheBestReturnIsTheFarthestDialsWay) {
  constexpr int kSymbols = 7;
  const auto distance = [](int symbol) { return std::min(symbol, kSymbols - symbol); };
  const auto env = Make("DialLock-v0");
  EXPECT_EQ(env->spec().action.Text(), "MultiDiscrete([3, 3, 3])");
  std::map<std::vector<int>, int> starts;
  for (int episode = 0; episode < 6'000; ++episode) {
    const std::optional<std::uint64_t> seed =
        episode == 0 ? std::optional<std::uint64_t>(4) : std::nullopt;
    ASSERT_TRUE(env->Reset(seed).ok());
    auto seen = env->observation().As<std::int32_t>();
    const std::vector<int> start(seen.begin(), seen.end());
    ++starts[start];
    int farthest = 0;
    for (const int symbol : start) farthest = std::max(farthest, distance(symbol));
    ASSERT_GT(farthest, 0) << "never open at the start";
    for (int step = 1; step <= farthest; ++step) {
      std::vector<std::int32_t> turns;
      for (const int symbol : seen) {
        turns.push_back(symbol == 0 ? 1 : symbol <= kSymbols / 2 ? 0 : 2);
      }
      const auto moved = env->Step(turns);
      ASSERT_TRUE(moved.ok());
      EXPECT_EQ(moved->reward, -1);
      EXPECT_EQ(moved->terminated, step == farthest);
    }
  }
  EXPECT_EQ(starts.size(), 7U * 7 * 7 - 1) << "every state but the open one";
  // The mean over them: each distance but 0 has two symbols, so max <= m for (2 m + 1)^3 of 7^3
  // states, and the mean of the max is 3 - (1 + 27 + 125) / 343 over all of them.
  double mean = 0;
  for (const auto& [start, count] : starts) {
    int farthest = 0;
    for (const int symbol : start) farthest = std::max(farthest, distance(symbol));
    mean += farthest / 342.0;
  }
  EXPECT_NEAR(mean, (3 - 153.0 / 343) * 343 / 342, 1e-12);
}

TEST(BanditTest, AProblemHasTheSameArmsInEveryEpisodeAndNoOtherNoise) {
  const auto means = [](Env& env) {
    const auto all = env.expected_rewards();
    return std::vector<double>(all.begin(), all.end());
  };
  const auto fixed = Make("ArmedBanditTestbed-v0", {{"problem", "7"}});
  const auto plain = Make("ArmedBanditTestbed-v0");
  ASSERT_TRUE(plain->Reset(7).ok());
  const std::vector<double> arms = means(*plain);
  ASSERT_TRUE(fixed->Reset(1).ok());
  EXPECT_EQ(means(*fixed), arms) << "those of an episode that is seeded so";
  const std::vector<std::int32_t> arm = {3};
  const double pulled = fixed->Step(arm)->reward;
  ASSERT_TRUE(fixed->Reset(std::nullopt).ok());
  EXPECT_EQ(means(*fixed), arms);
  EXPECT_NE(fixed->Step(arm)->reward, pulled);
  ASSERT_TRUE(plain->Reset(std::nullopt).ok());
  EXPECT_NE(means(*plain), arms);
  EXPECT_EQ(MakeEnv("ArmedBanditTestbed-v0", {{"problem", "7"}, {"stationary", "false"}})
                .status()
                .message(),
            "ArmedBanditTestbed-v0: option problem: needs means that stay");
  EXPECT_NE(
      MakeEnv("ArmedBanditTestbed-v0", {{"num_arms", "1000000"}}).status().message().find("10000"),
      std::string::npos);
}

}  // namespace
}  // namespace muster::envs
