// What a policy gains by memory, in an environment that is made for it.
#include <gtest/gtest.h>

#include "tests/unit/trainer/watching_host.h"
#include "trainer/rl/ppo_trainer.h"

namespace muster::rl {
namespace {

PpoOptions Maze() {
  PpoOptions options;
  options.environment.name = "TMaze-v0";
  options.environment.settings["length"] = "4";
  options.policy.hidden = {32};
  options.policy.memory_units = 32;
  options.envs = 32;
  options.rollout_steps = 32;
  options.learning_rate = 5e-3F;
  options.total_steps = 60 * options.batch_size();
  options.evaluation.episodes = 50;
  return options;
}

double ReturnOf(const PpoOptions& options) {
  const auto outcome = test::RunRanks<PpoResult>(
      {1, 1}, UINT64_MAX, 0, [&](Group& group, ThreadPool& pool, TrainerHost& host) {
        return TrainPpo(options, TrainingRun(), group, pool, host);
      });
  EXPECT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
  return outcome.results[0]->evaluation->return_mean;
}

// Two seeds each: what is right by chance is not right twice.
TEST(PpoMemoryTest, FindsTheWayThatASignAtTheStartTold) {
  for (const auto kind : {nn::RecurrentKind::kGru, nn::RecurrentKind::kLstm}) {
    for (const std::uint64_t seed : {1, 2}) {
      PpoOptions options = Maze();
      options.policy.memory = kind;
      options.seed = seed;
      EXPECT_GT(ReturnOf(options), 3.9) << seed;
    }
  }
}

// Half the turns are wrong: (4 - 0.1) / 2 = 1.95, and of 50 signs no seed shows more than 35 of a
// kind.
TEST(PpoMemoryTest, WithoutMemoryTheTurnIsAGuess) {
  for (const std::uint64_t seed : {1, 2}) {
    PpoOptions options = Maze();
    options.seed = seed;
    const double reached = ReturnOf(options);
    EXPECT_LT(reached, 2.8) << seed;
    EXPECT_GT(reached, 0.5) << seed;  // But it does walk to the turn.
  }
}

}  // namespace
}  // namespace muster::rl
