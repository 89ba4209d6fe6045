// What a policy gains by memory, in an environment that is made for it.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/unit/trainer/watching_host.h"
#include "trainer/rl/policy.h"
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
  options.evaluation = {.every_updates = 5, .episodes = 50, .stop_at_return = 3.9, .stops = true};
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

// Behind a CNN too: acting step by step has the bits of training over all steps at once.
TEST(PpoMemoryTest, RemembersPictures) {
  constexpr std::size_t kSide = 40, kSteps = 3, kEnvs = 2;
  PolicyOptions options;
  options.kind = PolicyKind::kNatureCnn;
  options.hidden = {16};
  options.memory = nn::RecurrentKind::kLstm;
  options.memory_units = 6;
  const auto policy = std::move(
      *Policy::Create(options, envs::Space::Box({kSide, kSide, 1}, 0, 255, envs::DType::kUint8),
                      envs::Space::Discrete(3)));
  std::vector<float> values(policy->parameters().flat_elements());
  policy->parameters().Initialize(4, values);
  std::vector<float> seen(kSteps * kEnvs * policy->features());
  for (std::size_t i = 0; i < seen.size(); ++i) seen[i] = static_cast<float>(i * i % 251) / 251.0F;
  const std::vector<std::uint8_t> starts = {0, 0, 0, 1, 0, 0};
  std::vector<float> memory(kEnvs * policy->memory());
  const auto leaves = policy->parameters().Bind(values, {});
  Tape at_once({.inference = true}), by_step({.inference = true});
  at_once.Begin(leaves);
  const std::vector<float> before = memory;
  const auto all =
      policy->Both(at_once, at_once.Input({kSteps * kEnvs, policy->features()}, seen.data()),
                   {.memory = before, .starts = starts});
  for (std::size_t step = 0; step < kSteps; ++step) {
    by_step.Begin(leaves);
    const Tensor x =
        by_step.Input({kEnvs, policy->features()}, &seen[step * kEnvs * policy->features()]);
    const auto now = policy->Both(by_step, x,
                                  {.memory = memory,
                                   .starts = std::span(starts).subspan(step * kEnvs, kEnvs),
                                   .after = memory});
    for (std::size_t i = 0; i < kEnvs * 3; ++i) {
      EXPECT_EQ(now.actor.parameters.data()[i], all.actor.parameters.data()[step * kEnvs * 3 + i]);
    }
    for (std::size_t i = 0; i < kEnvs; ++i) {
      EXPECT_EQ(now.values.data()[i], all.values.data()[step * kEnvs + i]);
    }
  }
  EXPECT_NE(memory, before);
}

}  // namespace
}  // namespace muster::rl
