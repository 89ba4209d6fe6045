// Whole tabular jobs: their results, metrics, checkpoints and refusals.
#include "trainer/rl/tabular/tabular_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "envs/plugin/new_plugin.h"
#include "tests/unit/trainer/data_files.h"
#include "tests/unit/trainer/watching_host.h"

namespace muster::rl {
namespace {

using testing::HasSubstr;

// The last rank alone asks to stop.
test::OutcomeOf<TabularResult> RunJob(const TabularOptions& options, const TrainingRun& run,
                                      std::size_t ranks = 1,
                                      std::uint64_t stop_after = UINT64_MAX) {
  return test::RunRanks<TabularResult>({ranks, 1}, stop_after, ranks - 1,
                                       [&](Group& group, ThreadPool& pool, TrainerHost& host) {
                                         return TrainTabular(options, run, group, pool, host);
                                       });
}

TabularOptions CliffJob(TabularAlgorithm algorithm) {
  TabularOptions options;
  options.environment = "CliffWalking-v1";
  options.settings["max_episode_steps"] = "100";  // Or the first episodes take thousands.
  options.algorithm = algorithm;
  options.td.learning_rate = 0.5;
  options.discount = 1;
  options.steps = 24;
  options.episodes_per_step = 3;
  options.runs = 8;
  options.lanes = 4;
  options.seed = 5;
  options.evaluate_every_steps = 10;
  options.evaluation_episodes = 2;
  return options;
}

TabularOptions BanditJob(BanditRule rule) {
  TabularOptions options;
  options.environment = "ArmedBanditTestbed-v0";
  options.algorithm = TabularAlgorithm::kBandit;
  options.bandit.rule = rule;
  options.bandit.learning_rate = rule == BanditRule::kGradient ? 0.1 : 0;
  options.steps = 40;
  options.runs = 12;
  options.lanes = 4;
  return options;
}

TabularOptions ModelJob(TabularAlgorithm algorithm, const std::string& environment) {
  TabularOptions options;
  options.environment = environment;
  options.algorithm = algorithm;
  options.tolerance = 1e-10;
  return options;
}

class TabularTrainerTest : public testing::Test {
 protected:
  TrainingRun Run() const {
    TrainingRun run;
    run.staging_directory = folder_ + "/staging";
    return run;
  }
  std::string FinalDigest(const TabularOptions& options, std::size_t ranks = 1) const {
    const auto outcome = RunJob(options, Run(), ranks);
    for (const auto& result : outcome.results) {
      EXPECT_TRUE(result.ok()) << result.status().message();
    }
    const auto& notices = outcome.hosts[0].notices;
    EXPECT_TRUE(!notices.empty() && notices.back().last);
    return notices.empty() ? "none" : notices.back().sha256;
  }
  std::string Refusal(const TabularOptions& options, std::size_t ranks = 1) const {
    const auto plan = PlanTabular(options, ranks);
    if (plan.ok()) return "accepted";
    EXPECT_EQ(plan.status().code(), StatusCode::kInvalidArgument);
    return plan.status().message();
  }
  std::vector<nlohmann::json> Rows(const std::string& path) const {
    std::vector<nlohmann::json> rows;
    std::istringstream text(*ReadFile(path));
    for (std::string line; std::getline(text, line);) rows.push_back(nlohmann::json::parse(line));
    return rows;
  }

  std::string folder_ = test::EmptyFolder("tabular");
};

// One for each kind of state that a checkpoint has.
std::vector<TabularOptions> JobsOfEveryKind() {
  TabularOptions blackjack = CliffJob(TabularAlgorithm::kQLearning);
  blackjack.environment = "Blackjack-v1";
  blackjack.td.epsilon = 1;
  blackjack.td.epsilon_final = 0;
  TabularOptions drifting = BanditJob(BanditRule::kEpsilonGreedy);
  drifting.settings = {{"stationary", "false"}};
  return {CliffJob(TabularAlgorithm::kQLearning),
          CliffJob(TabularAlgorithm::kSarsa),
          CliffJob(TabularAlgorithm::kExpectedSarsa),
          CliffJob(TabularAlgorithm::kRandom),
          blackjack,
          drifting,
          BanditJob(BanditRule::kUcb),
          BanditJob(BanditRule::kGradient)};
}

// The first promise. Lanes do not even enter: they only carry runs.
TEST_F(TabularTrainerTest, SameBitsOnAnyNumberOfRanks) {
  for (TabularOptions options : JobsOfEveryKind()) {
    SCOPED_TRACE(RecipeOf(options).dump());
    TrainingRun run = Run();
    std::vector<nlohmann::json> rows;
    std::string digest;
    for (const std::size_t ranks : {1U, 2U, 4U}) {
      SCOPED_TRACE(ranks);
      run.metrics_path = folder_ + "/metrics-" + std::to_string(ranks) + options.environment +
                         std::to_string(static_cast<int>(options.algorithm)) +
                         std::to_string(static_cast<int>(options.bandit.rule));
      const auto outcome = RunJob(options, run, ranks);
      ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
      const std::string now = outcome.hosts[0].notices.back().sha256;
      std::vector<nlohmann::json> metrics = Rows(run.metrics_path);
      for (nlohmann::json& row : metrics) {  // What tells of time differs.
        for (auto it = row.begin(); it != row.end();) {
          const bool timed = it.key().starts_with("time/") || it.key() == "charts/SPS";
          it = timed ? row.erase(it) : std::next(it);
        }
      }
      if (ranks == 1) {
        digest = now;
        rows = metrics;
      }
      EXPECT_EQ(now, digest);
      EXPECT_EQ(metrics, rows);
      EXPECT_EQ(metrics.size(), options.steps);
    }
    options.seed = 6;
    EXPECT_NE(FinalDigest(options), digest);
  }
}

// Interrupted after any step and resumed, perhaps on other ranks and more than once.
TEST_F(TabularTrainerTest, ResumesToTheSameBits) {
  unsigned job = 0;
  for (const TabularOptions& options : JobsOfEveryKind()) {
    SCOPED_TRACE(RecipeOf(options).dump());
    const std::string digest = FinalDigest(options);
    for (unsigned seed = 0; seed < 3; ++seed) {
      SCOPED_TRACE(seed);
      TrainingRun run = Run();
      run.staging_directory += std::to_string(job++);
      std::uint64_t stop_after = 0;
      std::string last;
      for (unsigned attempt = 0; attempt < 30; ++attempt) {
        stop_after += 1 + (seed * 7 + attempt * 5) % 11;
        const std::size_t ranks = 1U << (seed + attempt) % 3;
        const auto outcome = RunJob(options, run, ranks, stop_after);
        for (const auto& result : outcome.results) {
          ASSERT_TRUE(result.ok()) << result.status().message();
        }
        EXPECT_EQ(outcome.results[0]->step, std::min(stop_after, options.steps));
        last = outcome.hosts[0].notices.back().sha256;
        run.resume_directory = outcome.hosts[0].notices.back().directory;
        if (!outcome.results[0]->stopped) break;
      }
      EXPECT_EQ(last, digest);
    }
  }
}

TEST_F(TabularTrainerTest, WhatUsesTheModelEndsWhenNothingChangesAndResumesExactly) {
  for (const auto algorithm :
       {TabularAlgorithm::kValueIteration, TabularAlgorithm::kPolicyIteration}) {
    SCOPED_TRACE(NameOf(algorithm));
    const TabularOptions options = ModelJob(algorithm, "FrozenLake-v1");
    const auto whole = RunJob(options, Run());
    ASSERT_TRUE(whole.results[0].ok()) << whole.results[0].status().message();
    const TabularResult& result = *whole.results[0];
    EXPECT_TRUE(result.ended_early);
    EXPECT_FALSE(result.stopped);
    EXPECT_EQ(whole.hosts[0].told_total, result.step);
    EXPECT_THAT(whole.hosts[0].why_early, HasSubstr("has converged"));
    EXPECT_NEAR(result.evaluation->reward, 0.74, 0.15);  // Of 100 episodes.
    TrainingRun run = Run();
    run.staging_directory += NameOf(algorithm);
    const auto first = RunJob(options, run, 1, 2);
    EXPECT_TRUE(first.results[0]->stopped);
    run.resume_directory = first.hosts[0].notices.back().directory;
    const auto second = RunJob(options, run);
    EXPECT_EQ(second.hosts[0].notices.back().sha256, whole.hosts[0].notices.back().sha256);
    // A job that is done stays done.
    run.resume_directory = second.hosts[0].notices.back().directory;
    const auto third = RunJob(options, run);
    ASSERT_TRUE(third.results[0].ok()) << third.results[0].status().message();
    EXPECT_TRUE(third.hosts[0].steps.empty());
    EXPECT_TRUE(third.results[0]->ended_early);
  }
}

// The curriculum's ToyGym: the best policy gets 0.99 * 2, chance 0.5 * 1 + 0.5 * 1.98.
TEST_F(TabularTrainerTest, ToyGymPaysTheCheater198AndChance149) {
  const auto best = RunJob(ModelJob(TabularAlgorithm::kValueIteration, "ToyGym-v0"), Run());
  EXPECT_NEAR(best.results[0]->evaluation->discounted_reward, 1.98, 1e-9);
  TabularOptions random = ModelJob(TabularAlgorithm::kRandom, "ToyGym-v0");
  random.steps = 1;
  random.episodes_per_step = 10'000;
  TrainingRun run = Run();
  run.metrics_path = folder_ + "/random.jsonl";
  ASSERT_TRUE(RunJob(random, run).results[0].ok());
  EXPECT_NEAR(Rows(run.metrics_path)[0]["charts/episodic_discounted_return"].get<double>(), 1.49,
              0.02);
}

TEST_F(TabularTrainerTest, WritesMetricsAndKeepsTheBest) {
  TabularOptions options = CliffJob(TabularAlgorithm::kQLearning);
  options.steps = 300;
  options.evaluate_every_steps = 100;
  options.td.epsilon_final = 0;
  options.td.epsilon_decay_fraction = 0.5;
  TrainingRun run = Run();
  run.metrics_path = folder_ + "/q.jsonl";
  run.cadence.on_best = true;
  const auto outcome = RunJob(options, run);
  const auto rows = Rows(run.metrics_path);
  ASSERT_EQ(rows.size(), 300U);
  EXPECT_EQ(rows[0]["charts/epsilon"], 0.1);
  EXPECT_NEAR(rows[75]["charts/epsilon"].get<double>(), 0.05, 1e-12);
  EXPECT_EQ(rows[150]["charts/epsilon"], 0);
  EXPECT_FALSE(rows[98].contains("evaluation/return"));
  EXPECT_TRUE(rows[99].contains("evaluation/return"));
  EXPECT_EQ(rows[299]["evaluation/return"], -13);
  EXPECT_EQ(rows[299]["evaluation/length"], 13);
  EXPECT_EQ(rows[299]["charts/episodic_return"], -13);  // Without exploration.
  double steps = 0;
  for (const auto& row : rows) steps += row["charts/episodic_length"].get<double>() * 3 * 8;
  EXPECT_NEAR(rows[299]["charts/global_step"].get<double>(), steps, 0.5);
  // Checkpoints where the evaluation was the best so far, and at the end.
  ASSERT_FALSE(outcome.hosts[0].notices.empty());
  EXPECT_EQ(*outcome.hosts[0].notices.back().score, -13);
  EXPECT_EQ(outcome.hosts[0].notices.front().step, 100U);
}

TEST_F(TabularTrainerTest, ACheckpointHoldsTheTables) {
  const auto outcome = RunJob(CliffJob(TabularAlgorithm::kQLearning), Run());
  const auto read = ReadCheckpoint(outcome.hosts[0].notices.back().directory);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->contents.model.at("q").shape, (std::vector<std::uint64_t>{8, 48, 4}));
  EXPECT_EQ(read->contents.trainer["recipe"]["environment"], "CliffWalking-v1");
  const auto bandit = RunJob(BanditJob(BanditRule::kUcb), Run());
  const auto arms = ReadCheckpoint(bandit.hosts[0].notices.back().directory);
  ASSERT_TRUE(arms.ok());
  std::int64_t pulls = 0;
  for (const std::int64_t n : arms->contents.model.at("pulls").i64()) pulls += n;
  EXPECT_EQ(pulls, 40 * 12);
}

TEST_F(TabularTrainerTest, RefusesACheckpointOfAnotherJob) {
  TabularOptions options = CliffJob(TabularAlgorithm::kQLearning);
  TrainingRun run = Run();
  run.resume_directory = RunJob(options, run, 1, 5).hosts[0].notices.back().directory;
  options.td.learning_rate = 0.25;
  const Status refused = RunJob(options, run).results[0].status();
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("another learning_rate: 0.5, now it is 0.25"));
}

TEST_F(TabularTrainerTest, AnEpisodeIsRecordedBesideTheLastCheckpoint) {
  TabularOptions options = CliffJob(TabularAlgorithm::kQLearning);
  const std::string digest = FinalDigest(options);
  options.record_episode = true;
  std::string gif;
  for (const std::size_t ranks : {1, 4}) {
    const auto outcome = RunJob(options, Run(), ranks);
    const CheckpointNotice& last = outcome.hosts[0].notices.back();
    EXPECT_EQ(last.sha256, digest);
    const auto recorded = ReadFile(last.directory + "/episode.gif");
    ASSERT_TRUE(recorded.ok()) << recorded.status().message();
    EXPECT_EQ(recorded->rfind("GIF89a", 0), 0U);
    if (gif.empty()) gif = *recorded;
    EXPECT_EQ(*recorded, gif);
  }
  // What has no episodes has no picture.
  TabularOptions bandit = BanditJob(BanditRule::kUcb);
  bandit.record_episode = true;
  const auto pulled = RunJob(bandit, Run());
  EXPECT_FALSE(ReadFile(pulled.hosts[0].notices.back().directory + "/episode.gif").ok());
}

// The walk of `muster env new`, by the number of its square.
std::string BuildDiscreteWalk(const std::string& folder) {
  EXPECT_TRUE(envs::NewPlugin("walk", folder).ok());
  std::string source = *ReadFile(folder + "/walk.cpp");
  const auto replace = [&source](const std::string& from, const std::string& to) {
    const std::size_t at = source.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    source.replace(at, from.size(), to);
  };
  replace("Space::Box({1}, -1, 1)", "Space::Discrete(static_cast<std::int32_t>(length_ + 2))");
  replace("float* observation", "std::int32_t* observation");
  const std::size_t from = source.find("observation[0] = ");
  source.replace(from, source.find(';', from) - from,
                 "observation[0] = static_cast<std::int32_t>(at_ + 1)");
  EXPECT_TRUE(WriteFileAtomically(folder + "/discrete.cpp", source).ok());
  const Status built = envs::BuildPlugin(folder + "/discrete.cpp", folder + "/discrete.so");
  EXPECT_TRUE(built.ok()) << built.message();
  EXPECT_TRUE(envs::BuildPlugin(folder + "/walk.cpp", folder + "/walk.so").ok());
  return folder + "/discrete.so";
}

TEST_F(TabularTrainerTest, LearnsInAPluginWhoseSpacesAreChoices) {
  TabularOptions options = CliffJob(TabularAlgorithm::kQLearning);
  options.environment = BuildDiscreteWalk(folder_);
  options.settings = {{"length", "6"}};
  options.td.initial_value = 1;
  options.discount = 0.9;
  options.steps = 200;
  options.evaluation_episodes = 20;
  options.plugin_sha256 = "12";
  ASSERT_EQ(Refusal(options, 4), "accepted");
  const auto outcome = RunJob(options, Run());
  ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
  EXPECT_EQ(outcome.results[0]->evaluation->reward, 1);  // Always to the right.
  EXPECT_EQ(FinalDigest(options, 4), outcome.hosts[0].notices.back().sha256);
  EXPECT_EQ(RecipeOf(options)["environment"], "discrete.so");
  EXPECT_EQ(RecipeOf(options)["library"], "12");
  options.environment = folder_ + "/walk.so";
  EXPECT_THAT(Refusal(options), HasSubstr("tabular.environment: Walk: its observations are Box"));
  options.environment = folder_ + "/discrete.so";
  options.settings = {{"lenght", "6"}};
  EXPECT_THAT(Refusal(options), HasSubstr("unknown option lenght; there are: length"));
  options.settings = {};
  options.algorithm = TabularAlgorithm::kValueIteration;
  options.runs = options.lanes = 1;
  EXPECT_EQ(
      Refusal(options),
      "tabular.environment: value_iteration needs an exact model, and discrete.so tells none; "
      "use q_learning or sarsa");
}

TEST_F(TabularTrainerTest, TellsBadInputInOneLine) {
  TabularOptions options = CliffJob(TabularAlgorithm::kQLearning);
  EXPECT_EQ(Refusal(options, 4), "accepted");
  options.environment = "CliffWalkin-v1";
  EXPECT_THAT(Refusal(options),
              HasSubstr("tabular.environment: there is no environment 'CliffWalkin-v1'; the "
                        "nearest names are CliffWalking-v1"));
  options.environment = "CartPole-v1";
  EXPECT_THAT(Refusal(options), HasSubstr("tabular.environment: CartPole-v1: its observations"));
  options.environment = "./mine.so";
  EXPECT_EQ(Refusal(options),
            "tabular.environment: there is no environment ./mine.so: no such file");
  options = CliffJob(TabularAlgorithm::kQLearning);
  options.settings = {{"slippery", "true"}};
  EXPECT_THAT(Refusal(options), HasSubstr("tabular.settings: "));
  options = ModelJob(TabularAlgorithm::kPolicyIteration, "Blackjack-v1");
  EXPECT_EQ(Refusal(options),
            "tabular.environment: policy_iteration needs an exact model, and Blackjack-v1 tells "
            "none; use q_learning or sarsa");
  options = BanditJob(BanditRule::kUcb);
  options.environment = "Taxi-v4";
  EXPECT_THAT(Refusal(options), HasSubstr("a bandit has one state"));
  options = CliffJob(TabularAlgorithm::kSarsa);
  options.lanes = 16;
  EXPECT_THAT(Refusal(options), HasSubstr("lanes: 16 do not divide tabular.runs (8)"));
  options.lanes = 4;
  EXPECT_THAT(Refusal(options, 8), HasSubstr("resources.ranks: 8 do not divide lanes (4)"));
  options.environment = "Taxi-v4";
  options.runs = 1'000'000;
  EXPECT_THAT(Refusal(options), HasSubstr("take more than 4 GiB"));
}

}  // namespace
}  // namespace muster::rl
