#include "trainer/rl/ppo_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "envs/registry.h"
#include "tests/unit/trainer/data_files.h"
#include "tests/unit/trainer/small_ppo.h"
#include "tests/unit/trainer/watching_host.h"

namespace muster::rl {
namespace {

using test::Layout;
using test::SmallPpo;
using testing::HasSubstr;

class PpoTrainerTest : public testing::Test {
 protected:
  TrainingRun Run() const {
    TrainingRun run;
    run.staging_directory = folder_ + "/staging";
    return run;
  }
  static test::OutcomeOf<PpoResult> Train(const PpoOptions& options, const TrainingRun& run,
                                          Layout layout, std::uint64_t stop_after = UINT64_MAX) {
    return test::RunRanks<PpoResult>(layout, stop_after, 0,
                                     [&](Group& group, ThreadPool& pool, TrainerHost& host) {
                                       return TrainPpo(options, run, group, pool, host);
                                     });
  }
  // The digest of the last checkpoint.
  std::string FinalDigest(const PpoOptions& options, Layout layout) const {
    const auto outcome = Train(options, Run(), layout);
    for (const auto& result : outcome.results)
      EXPECT_TRUE(result.ok()) << result.status().message();
    const auto& notices = outcome.hosts[0].notices;
    EXPECT_TRUE(!notices.empty() && notices.back().last);
    return notices.empty() ? "none" : notices.back().sha256;
  }

  std::string folder_ = test::EmptyFolder("ppo");
};

TEST_F(PpoTrainerTest, LearnsCartPole) {
  PpoOptions options;
  options.environment.name = "CartPole-v1";
  options.envs = 64;
  options.rollout_steps = 64;
  options.lanes = 2;
  options.learning_rate = 2.5e-3F;
  options.total_steps = 60 * options.batch_size();
  options.evaluation = {.every_updates = 5, .episodes = 20, .stop_at_return = 475, .stops = true};
  const auto outcome = Train(options, Run(), {1, 2});
  ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
  EXPECT_TRUE(outcome.results[0]->reached) << outcome.results[0]->evaluation->return_mean;
  EXPECT_GE(outcome.results[0]->evaluation->return_mean, 475);
}

// Three dials at a time: an actor of three heads over observations of three choices.
TEST_F(PpoTrainerTest, LearnsSeveralChoicesAtOnce) {
  PpoOptions options;
  options.environment.name = "DialLock-v0";
  options.envs = 64;
  options.rollout_steps = 32;
  options.lanes = 2;
  options.learning_rate = 2.5e-3F;
  options.total_steps = 100 * options.batch_size();
  options.evaluation = {.every_updates = 5, .episodes = 200, .stop_at_return = -2.7, .stops = true};
  const auto outcome = Train(options, Run(), {1, 2});
  ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
  EXPECT_TRUE(outcome.results[0]->reached) << outcome.results[0]->evaluation->return_mean;
}

// Without a hidden layer there are the heads alone: a logit for each arm, and a value.
TEST_F(PpoTrainerTest, FindsTheBestArmWithoutAHiddenLayer) {
  PpoOptions options;
  options.environment.name = "ArmedBanditTestbed-v0";
  options.environment.settings = {{"problem", "1"}, {"max_episode_steps", "100"}};
  options.policy.hidden = {};
  options.envs = 16;
  options.rollout_steps = 100;
  options.lanes = 2;
  options.learning_rate = 1e-2F;
  options.total_steps = 125 * options.batch_size();
  options.evaluation = {.episodes = 100};
  EXPECT_EQ(PlanPpo(options, 1)->parameters, 2U * 10 + 2);
  const auto bandit =
      std::move(*envs::MakeEnv(options.environment.name, options.environment.settings));
  ASSERT_TRUE(bandit->Reset(0).ok());
  const auto arms = bandit->expected_rewards();
  const double best = *std::max_element(arms.begin(), arms.end());
  const auto outcome = Train(options, Run(), {1, 2});
  ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
  // A mean over 100 episodes of 100 pulls: its deviation is 1.
  EXPECT_NEAR(outcome.results[0]->evaluation->return_mean, 100 * best, 4);
}

// The first promise, for every kind of agent.
TEST_F(PpoTrainerTest, SameBitsOnAnyNumberOfRanksAndThreads) {
  for (const auto& [name, options] : test::SmallPpos()) {
    SCOPED_TRACE(name);
    const std::string digest = FinalDigest(options, {1, 1});
    for (const Layout layout : {Layout{1, 2}, {1, 8}, {2, 1}, {2, 2}, {4, 1}}) {
      SCOPED_TRACE(std::to_string(layout.ranks) + " ranks, " + std::to_string(layout.threads));
      EXPECT_EQ(FinalDigest(options, layout), digest);
    }
    PpoOptions other = options;
    other.seed = 4;
    EXPECT_NE(FinalDigest(other, {1, 1}), digest);
  }
}

// Update k trains on rollouts of the policy after update k - lag, on any ranks and with any pauses.
TEST_F(PpoTrainerTest, PoliciesLagByAFixedNumberOfUpdates) {
  for (const bool vtrace : {false, true}) {
    SCOPED_TRACE(vtrace);
    PpoOptions options = SmallPpo("CartPole-v1");
    options.total_steps = 8 * 24 * 6;
    options.learning_rate = 1e-3F;
    options.vtrace = vtrace;
    const std::string none = FinalDigest(options, {1, 1});
    options.max_policy_lag = 2;
    const std::string digest = FinalDigest(options, {1, 1});
    EXPECT_NE(digest, none);
    EXPECT_EQ(FinalDigest(options, {2, 1}), digest);
    EXPECT_EQ(FinalDigest(options, {4, 2}), digest);
    // Interrupted while two rollouts wait to be trained on.
    TrainingRun run = Run();
    run.metrics_path = folder_ + "/metrics";
    const auto first = Train(options, run, {1, 1}, 3);
    run.resume_directory = folder_ + "/kept";
    std::filesystem::rename(first.hosts[0].notices.back().directory, run.resume_directory);
    const auto second = Train(options, run, {2, 1});
    ASSERT_TRUE(second.results[0].ok()) << second.results[0].status().message();
    EXPECT_EQ(second.hosts[0].notices.back().sha256, digest);
    std::istringstream text(*ReadFile(run.metrics_path));
    std::vector<double> lags;
    for (std::string line; std::getline(text, line);) {
      lags.push_back(nlohmann::json::parse(line)["train/policy_lag"]);
    }
    EXPECT_EQ(lags, (std::vector<double>{0, 1, 2, 2, 2, 2}));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
}

// Environments in mid-episode, what is remembered of them, normalisers and random streams go on
// where they were.
TEST_F(PpoTrainerTest, ResumesToTheSameBits) {
  for (auto& [name, options] : test::SmallPpos()) {
    SCOPED_TRACE(name);
    options.total_steps = 8 * 24 * 6;
    options.learning_rate = 1e-3F;
    const std::string digest = FinalDigest(options, {1, 1});
    TrainingRun run = Run();
    std::string last;
    for (std::uint64_t stop_after = 1; last.empty(); stop_after += 2) {
      // Another number of ranks each time.
      const Layout layout{std::size_t{1} << stop_after / 2 % 3, 1};
      const auto outcome = Train(options, run, layout, stop_after);
      for (const auto& result : outcome.results) {
        ASSERT_TRUE(result.ok()) << result.status().message();
      }
      const CheckpointNotice& notice = outcome.hosts[0].notices.back();
      ASSERT_LE(notice.step, 6U);
      run.resume_directory = folder_ + "/kept-" + std::to_string(notice.step);
      std::filesystem::rename(notice.directory, run.resume_directory);
      if (notice.last) last = notice.sha256;
    }
    EXPECT_EQ(last, digest);
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
}

// The picture is for people: no bit of a result depends on it, nor its own on the ranks.
TEST_F(PpoTrainerTest, AnEpisodeIsRecordedBesideTheLastCheckpoint) {
  for (auto& [name, options] : test::SmallPpos()) {
    SCOPED_TRACE(name);
    const std::string digest = FinalDigest(options, {1, 1});
    options.evaluation.record_episode = true;
    std::string gif;
    for (const Layout layout : {Layout{1, 1}, {2, 1}, {1, 2}}) {
      const auto outcome = Train(options, Run(), layout);
      ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
      std::size_t files = 0;
      for (const CheckpointNotice& notice : outcome.hosts[0].notices) {
        const auto recorded = ReadFile(notice.directory + "/episode.gif");
        files += recorded.ok() ? 1 : 0;
        if (!notice.last) continue;
        EXPECT_EQ(notice.sha256, digest);
        ASSERT_TRUE(recorded.ok()) << recorded.status().message();
        EXPECT_EQ(recorded->rfind("GIF89a", 0), 0U);
        if (gif.empty()) gif = *recorded;
        EXPECT_EQ(*recorded, gif);
      }
      EXPECT_EQ(files, 1U);
    }
  }
}

TEST_F(PpoTrainerTest, AnEnvironmentThatDrawsNothingTrainsWithoutAPicture) {
  PpoOptions options = SmallPpo("Probe1-v0");
  const std::string digest = FinalDigest(options, {1, 1});
  options.evaluation.record_episode = true;
  const auto outcome = Train(options, Run(), {1, 1});
  ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
  EXPECT_EQ(outcome.hosts[0].notices.back().sha256, digest);
  EXPECT_FALSE(ReadFile(outcome.hosts[0].notices.back().directory + "/episode.gif").ok());
}

// An evaluation has environments of its own, and remembers them apart.
TEST_F(PpoTrainerTest, EvaluationsChangeNothing) {
  for (auto& [name, options] : test::SmallPpos()) {
    SCOPED_TRACE(name);
    options.evaluation.every_updates = 1;
    const auto often = Train(options, TrainingRun(), {1, 1});
    options.evaluation = {};
    const auto never = Train(options, TrainingRun(), {1, 1});
    ASSERT_TRUE(often.results[0].ok() && never.results[0].ok());
    EXPECT_TRUE(often.results[0]->evaluation && !never.results[0]->evaluation);
    EXPECT_EQ(often.results[0]->values, never.results[0]->values);
  }
}

TEST_F(PpoTrainerTest, RefusesACheckpointOfAnotherRecipe) {
  PpoOptions options = SmallPpo("CartPole-v1");
  const auto outcome = Train(options, Run(), {1, 1}, 1);
  ASSERT_TRUE(outcome.results[0].ok());
  TrainingRun run = Run();
  run.resume_directory = outcome.hosts[0].notices.back().directory;
  options.gamma = 0.9F;
  const auto other = Train(options, run, {1, 1});
  EXPECT_THAT(other.results[0].status().message(), HasSubstr("another gamma: 0.99, now it is 0.9"));
}

TEST_F(PpoTrainerTest, EndsEarlyAtTheReturnAskedForAndSaysSo) {
  PpoOptions options = SmallPpo("CartPole-v1");
  options.evaluation.stop_at_return = 1;  // Every policy holds the pole for a step.
  options.evaluation.stops = true;
  const auto outcome = Train(options, Run(), {2, 1});
  for (std::size_t rank = 0; rank < 2; ++rank) {
    ASSERT_TRUE(outcome.results[rank].ok());
    EXPECT_TRUE(outcome.results[rank]->reached);
    EXPECT_EQ(outcome.results[rank]->updates, 2U);
    EXPECT_THAT(outcome.hosts[rank].why_early, HasSubstr("ended early after update 2 of 3"));
    EXPECT_EQ(outcome.hosts[rank].told_total, 2U);
  }
  // A finished training that is started again does nothing more.
  TrainingRun run = Run();
  run.resume_directory = outcome.hosts[0].notices.back().directory;
  const auto again = Train(options, run, {1, 1});
  ASSERT_TRUE(again.results[0].ok()) << again.results[0].status().message();
  EXPECT_TRUE(again.hosts[0].steps.empty());
}

TEST_F(PpoTrainerTest, WritesARowOfMetricsForEachUpdate) {
  const PpoOptions options = SmallPpo("CartPole-v1");
  TrainingRun run = Run();
  run.metrics_path = folder_ + "/metrics";
  ASSERT_TRUE(Train(options, run, {1, 1}).results[0].ok());
  std::istringstream text(*ReadFile(run.metrics_path));
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(text, line);) rows.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(rows.size(), 3U);
  for (const char* name :
       {"charts/global_step", "charts/SPS", "charts/learning_rate", "losses/policy_loss",
        "losses/value_loss", "losses/entropy", "losses/approx_kl", "losses/old_approx_kl",
        "losses/clipfrac", "losses/explained_variance", "train/gradient_norm", "time/rollout_ms",
        "time/forward_ms", "time/backward_ms", "time/communication_ms", "time/optimizer_ms"}) {
    EXPECT_TRUE(rows[0].contains(name)) << name;
  }
  EXPECT_EQ(rows[1]["charts/global_step"], 384);
  // The first update has the whole rate, the last one a third of it, none has 0.
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_FLOAT_EQ(rows[i]["charts/learning_rate"].get<float>(),
                    options.learning_rate * (1.0F - static_cast<float>(i) / 3.0F));
  }
  EXPECT_FALSE(rows[0].contains("evaluation/return"));
  EXPECT_TRUE(rows[1].contains("evaluation/return"));
  EXPECT_NEAR(rows[0]["losses/entropy"].get<double>(), std::log(2.0), 0.01);
}

}  // namespace
}  // namespace muster::rl
