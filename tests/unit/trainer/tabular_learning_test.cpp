// Q-learning, SARSA and expected SARSA: single steps by hand, and what they are known to find.
#include <gtest/gtest.h>

#include <cmath>

#include "envs/registry.h"
#include "envs/tabular/tabular_env.h"
#include "trainer/rl/tabular/temporal_difference.h"

namespace muster::rl {
namespace {

TabularTask Task(const std::string& name, const envs::EnvOptions& options = {}) {
  auto env = envs::MakeEnv(name, options);
  EXPECT_TRUE(env.ok()) << env.status().message();
  return TabularTask(std::move(*env));
}

// A corridor: state 0, then 1, then an end; every action goes on. Rewards 1 and 5.
TabularTask Corridor(bool ends_by_itself) {
  envs::TabularModel model(3, 2);
  model.start = {1, 0, 0};
  for (std::size_t a = 0; a < 2; ++a) model.Add(0, a, {1, 1, 1, false});
  for (std::size_t a = 0; a < 2; ++a) model.Add(1, a, {1, 2, 5, ends_by_itself});
  for (std::size_t a = 0; a < 2; ++a) model.Add(2, a, {1, 2, 0, true});
  envs::EnvSpec spec;
  spec.name = "Corridor";
  return TabularTask(std::make_unique<envs::TabularEnv>(std::move(spec), std::move(model)));
}

// The row in which something was learnt has one changed element; its value.
double Changed(std::span<const double> row, double initial) {
  double found = NAN;
  for (const double value : row) {
    if (value != initial) found = value;
  }
  return found;
}

// alpha = 0.5, gamma = 0.5, all values 4 at first, epsilon 0: every next action is worth 4.
//   Q(0, a) = 4 + 0.5 (1 + 0.5 * 4 - 4) = 3.5, |delta| = 1
//   Q(1, a) = 4 + 0.5 (5 + 0 - 4) = 4.5,       |delta| = 1
TEST(TabularLearningTest, EachRuleMatchesTheHandWorkedEpisode) {
  for (const auto episode : {QLearningEpisode, SarsaEpisode, ExpectedSarsaEpisode}) {
    TabularTask task = Corridor(true);
    ActionValues q(3, 2, 4);
    RunRandom random(1, 0);
    EpisodeSums sums;
    ASSERT_TRUE(episode(task, {0.5, 0.5, 0}, q, random, sums).ok());
    EXPECT_EQ(Changed(q[0], 4), 3.5);
    EXPECT_EQ(Changed(q[1], 4), 4.5);
    EXPECT_TRUE(std::isnan(Changed(q[2], 4)));
    EXPECT_EQ(sums.episodes, 1U);
    EXPECT_EQ(sums.steps, 2U);
    EXPECT_EQ(sums.reward, 6);
    EXPECT_EQ(sums.discounted_reward, 3.5);
    EXPECT_EQ(sums.td_error, 2);
  }
}

// Where they differ: the next state's values are 0 and 8, epsilon is 1 and gamma 1, so Q-learning
// expects 8, expected SARSA 4, and SARSA what it draws.
TEST(TabularLearningTest, TheRulesDifferInWhatTheyExpectOfTheNextAction) {
  const auto learnt = [](auto episode, std::uint64_t seed) {
    TabularTask task = Corridor(true);
    ActionValues q(3, 2, 0);
    q[1][1] = 8;
    RunRandom random(seed, 0);
    EpisodeSums sums;
    EXPECT_TRUE(episode(task, TdOptions{1, 1, 1}, q, random, sums).ok());
    return Changed(q[0], 0);
  };
  int high = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    EXPECT_EQ(learnt(QLearningEpisode, seed), 9);
    EXPECT_EQ(learnt(ExpectedSarsaEpisode, seed), 5);
    const double drawn = learnt(SarsaEpisode, seed);
    EXPECT_TRUE(drawn == 1 || drawn == 9) << drawn;
    high += drawn == 9 ? 1 : 0;
  }
  EXPECT_GT(high, 30);
  EXPECT_LT(high, 70);
}

// A time limit is not an end: the value of the last state counts.
TEST(TabularLearningTest, TruncationBootstrapsAndTerminationDoesNot) {
  for (const auto episode : {QLearningEpisode, SarsaEpisode, ExpectedSarsaEpisode}) {
    TabularTask task = Task("ToyGym-v0");  // Two steps, then truncated in the middle again.
    ActionValues q(3, 2, 10);
    RunRandom random(1, 0);
    EpisodeSums sums;
    ASSERT_TRUE(episode(task, {1, 0.5, 0}, q, random, sums).ok());
    EXPECT_EQ(sums.steps, 2U);
    // Out to one side, and back to the middle, where the best value is still 10.
    const bool left = !std::isnan(Changed(q[0], 10));
    EXPECT_EQ(Changed(q[left ? 0 : 2], 10), left ? 5 : 7);
  }
}

TEST(TabularLearningTest, TiesAreBrokenAtRandomAndPlayedByTheFirst) {
  RunRandom random(3, 0);
  const std::vector<double> values = {1, 7, 0, 7};
  int last = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::size_t action = GreedyAction(values, random);
    ASSERT_TRUE(action == 1 || action == 3);
    last += action == 3 ? 1 : 0;
  }
  EXPECT_NEAR(last, 500, 60);
  EXPECT_EQ(BestAction(values), 1U);
  EXPECT_EQ(EpsilonGreedyMean(values, 0.2), 0.2 * 15 / 4 + 0.8 * 7);
}

TEST(TabularLearningTest, ARunsRandomNumbersDependOnSeedRunAndCountAlone) {
  RunRandom a(5, 2), other_run(5, 3), other_seed(6, 2);
  std::vector<double> drawn(100);
  for (double& number : drawn) number = a.Uniform();
  RunRandom resumed(5, 2, 40);
  EXPECT_EQ(resumed.Uniform(), drawn[40]);
  EXPECT_EQ(a.drawn(), 100U);
  EXPECT_NE(other_run.Uniform(), drawn[0]);
  EXPECT_NE(other_seed.Uniform(), drawn[0]);
}

struct Learnt {
  double greedy = 0;  // The return of the greedy policy.
  double online = 0;  // The mean return of the last episodes while it learns.
};

Learnt LearnTheCliff(decltype(&SarsaEpisode) episode, std::uint32_t run) {
  TabularTask task = Task("CliffWalking-v1", {{"max_episode_steps", "10000"}});
  task.SeedNext(run);
  ActionValues q(task.states(), task.actions());
  RunRandom random(17, run);
  EpisodeSums early, late;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(episode(task, {0.5, 1, 0.1}, q, random, i < 500 ? early : late).ok());
  }
  TabularTask played = Task("CliffWalking-v1", {{"max_episode_steps", "200"}});
  return {PlayPolicy(played, GreedyPolicy(q), 1, 0, 1)->reward, late.reward / 500};
}

// Sutton and Barto, example 6.6: Q-learning finds the optimal path, and falls off it as long as it
// explores; SARSA takes the safe one, and earns more meanwhile.
TEST(TabularLearningTest, QLearningFindsTheShortestWayAndSarsaTheSafeOne) {
  double q_online = 0, sarsa_online = 0;
  int shortest = 0, safe = 0;
  constexpr int kRuns = 20;
  for (std::uint32_t run = 0; run < kRuns; ++run) {
    const Learnt q = LearnTheCliff(QLearningEpisode, run);
    const Learnt sarsa = LearnTheCliff(SarsaEpisode, run);
    shortest += q.greedy == -13 ? 1 : 0;
    safe += sarsa.greedy < -13 && sarsa.greedy > -100 ? 1 : 0;
    q_online += q.online / kRuns;
    sarsa_online += sarsa.online / kRuns;
  }
  EXPECT_EQ(shortest, kRuns);
  EXPECT_GE(safe, kRuns - 4);
  EXPECT_NEAR(q_online, -50, 8);
  EXPECT_NEAR(sarsa_online, -25, 6);
}

// Every environment with choices: observations of several numbers become one.
TEST(TabularLearningTest, LearnsInEveryEnvironmentOfChoices) {
  std::size_t served = 0;
  for (const envs::EnvEntry& entry : envs::Registry()) {
    SCOPED_TRACE(entry.name);
    auto env = envs::MakeEnv(entry.name, {{"max_episode_steps", "50"}});
    ASSERT_TRUE(env.ok());
    if (!TabularTask::Check((*env)->spec()).ok()) continue;
    ++served;
    TabularTask task(std::move(*env));
    task.SeedNext(4);
    ActionValues q(task.states(), task.actions());
    RunRandom random(1, 0);
    EpisodeSums sums;
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(QLearningEpisode(task, {0.5, 0.9, 0.3}, q, random, sums).ok());
    }
    EXPECT_EQ(sums.episodes, 20U);
    // The environment's state continues exactly.
    const std::string saved = *task.Save();
    const ActionValues before = q;
    RunRandom random_before = random;
    EpisodeSums first, second;
    ASSERT_TRUE(QLearningEpisode(task, {0.5, 0.9, 0.3}, q, random, first).ok());
    ActionValues again = before;
    ASSERT_TRUE(task.Load(saved).ok());
    ASSERT_TRUE(QLearningEpisode(task, {0.5, 0.9, 0.3}, again, random_before, second).ok());
    EXPECT_EQ(q.values(), again.values());
    EXPECT_EQ(first.reward, second.reward);
  }
  EXPECT_GE(served, 7U);
}

TEST(TabularLearningTest, BlackjackIsLearntToNearlyTheBestReturn) {
  TabularTask task = Task("Blackjack-v1");
  EXPECT_EQ(task.states(), 32U * 11 * 2);
  task.SeedNext(1);
  ActionValues q(task.states(), task.actions());
  RunRandom random(1, 0);
  EpisodeSums sums;
  for (int i = 0; i < 200'000; ++i) {
    ASSERT_TRUE(QLearningEpisode(task, {0.02, 1, 0.1}, q, random, sums).ok());
  }
  // The best is -0.04 or so; sticking always is -0.16, at random -0.39.
  EXPECT_GT(PlayPolicy(task, GreedyPolicy(q), 50'000, 99, 1)->reward / 50'000, -0.075);
}

TEST(TabularLearningTest, RefusesSpacesThatNoTableHolds) {
  const auto check = [](const std::string& name) {
    return TabularTask::Check((*envs::MakeEnv(name))->spec());
  };
  const Status box = check("CartPole-v1");
  EXPECT_EQ(box.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(box.message().find("CartPole-v1: its observations are Box"), std::string::npos);
  EXPECT_TRUE(check("Taxi-v4").ok());
  envs::EnvSpec large;
  large.name = "Large";
  large.observation = envs::Space::MultiDiscrete({100'000, 100'000});
  large.action = envs::Space::Discrete(2);
  EXPECT_NE(TabularTask::Check(large).message().find("more than a table can hold"),
            std::string::npos);
}

}  // namespace
}  // namespace muster::rl
