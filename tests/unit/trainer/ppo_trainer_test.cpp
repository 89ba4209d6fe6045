#include "trainer/rl/ppo_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "tests/unit/trainer/data_files.h"
#include "tests/unit/trainer/watching_host.h"

namespace muster::rl {
namespace {

using test::Layout;
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

// Three updates with everything that has state: normalisers, episodes that end in between.
PpoOptions Small(const std::string& environment) {
  PpoOptions options;
  options.environment.name = environment;
  options.environment.settings["max_episode_steps"] = "30";
  options.environment.normalize_observations = true;
  options.environment.normalize_rewards = true;
  options.policy.hidden = {16};
  options.envs = 8;
  options.rollout_steps = 24;
  options.total_steps = 8 * 24 * 3;
  options.lanes = 4;
  options.seed = 3;
  options.epochs = 2;
  options.minibatches = 2;
  options.evaluation.episodes = 6;
  options.evaluation.every_updates = 2;
  return options;
}

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

// The first promise, for choices and for numbers as actions.
TEST_F(PpoTrainerTest, SameBitsOnAnyNumberOfRanksAndThreads) {
  for (const std::string environment : {"CartPole-v1", "Pendulum-v1"}) {
    SCOPED_TRACE(environment);
    const PpoOptions options = Small(environment);
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

}  // namespace
}  // namespace muster::rl
