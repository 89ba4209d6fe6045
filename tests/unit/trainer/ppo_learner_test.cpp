#include "trainer/rl/ppo_learner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/unit/trainer/small_agent.h"

namespace muster::rl {
namespace {

using test::Agent;

PpoOptions Small(const std::string& environment) {
  PpoOptions options;
  options.environment.name = environment;
  options.policy.hidden = {24, 40};
  options.envs = 10;
  options.lanes = 2;
  options.rollout_steps = 36;
  options.minibatches = 4;
  options.epochs = 3;
  return options;
}

// Episodes begin and end within every rollout.
PpoOptions SmallWithMemory(const std::string& environment, nn::RecurrentKind kind) {
  PpoOptions options = Small(environment);
  options.environment.settings["max_episode_steps"] = "25";
  options.policy.memory = kind;
  options.policy.memory_units = 20;
  options.minibatches = 5;
  return options;
}

// Every kind of network.
std::vector<PolicyOptions> Networks() {
  std::vector<PolicyOptions> all(4);
  all[1].shared = true;
  all[2].memory = nn::RecurrentKind::kGru;
  all[3].memory = nn::RecurrentKind::kLstm;
  return all;
}

// The third promise: what was sampled is what is trained, to the bit, in whatever batches.
TEST(PpoLearnerTest, EveryRatioIsExactlyOneBeforeTheFirstStep) {
  for (const std::string environment : {"CartPole-v1", "Pendulum-v1", "Taxi-v4"}) {
    for (const PolicyOptions& network : Networks()) {
      SCOPED_TRACE(environment + " " + RecipeOf(network).dump());
      PpoOptions options = Small(environment);
      options.minibatches = 5;
      options.environment.settings["max_episode_steps"] = "25";
      options.policy = network;
      Agent agent(options);
      for (std::uint64_t update = 0; update < 3; ++update) {
        agent.Collect();
        const auto result = agent.Update(update, {1e-2F, 0.2F});
        ASSERT_TRUE(result.ok()) << result.status().message();
        EXPECT_EQ(result->first_ratio_error, 0.0);
        EXPECT_GT(result->approx_kl, 0.0);  // It does move.
      }
    }
  }
}

TEST(PpoLearnerTest, WithGsdeTooEveryRatioIsExactlyOneBeforeTheFirstStep) {
  for (const bool memory : {false, true}) {
    for (const std::size_t every : {0U, 1U, 7U}) {
      SCOPED_TRACE(every);
      PpoOptions options = SmallWithMemory("Pendulum-v1", nn::RecurrentKind::kLstm);
      if (!memory) options.policy.memory.reset();
      options.policy.sde = true;
      options.policy.sde_sample_freq = every;
      Agent agent(options);
      for (std::uint64_t update = 0; update < 3; ++update) {
        agent.Collect();
        const auto result = agent.Update(update, {1e-2F, 0.2F});
        ASSERT_TRUE(result.ok()) << result.status().message();
        EXPECT_EQ(result->first_ratio_error, 0.0);
        EXPECT_GT(result->approx_kl, 0.0);
      }
    }
  }
}

TEST(PpoLearnerTest, TargetKlEndsTheEpochs) {
  PpoOptions options = Small("CartPole-v1");
  options.target_kl = 1e-4F;
  Agent agent(options);
  agent.Collect();
  const auto result = agent.Update(0, {1e-2F, 0.2F});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->epochs, 1U);
}

// A batch of one minibatch and one epoch at ratio 1: the surrogate is minus the mean advantage,
// which normalisation makes 0; the gradient is that of the policy gradient theorem.
TEST(PpoLearnerTest, NormalisedAdvantagesHaveNoMean) {
  PpoOptions options = Small("CartPole-v1");
  options.minibatches = 1;
  options.epochs = 1;
  Agent agent(options);
  agent.Collect();
  const auto normal = agent.Update(0, {1e-3F, 0.2F});
  ASSERT_TRUE(normal.ok());
  EXPECT_NEAR(normal->policy_loss, 0.0, 1e-7);
  options.normalize_advantages = false;
  Agent plain(options);
  plain.Collect();
  const auto result = plain.Update(0, {1e-3F, 0.2F});
  ASSERT_TRUE(result.ok());
  EXPECT_NEAR(result->policy_loss, -result->advantage_mean, 1e-6);
  EXPECT_GT(std::abs(result->advantage_mean), 1e-3);
}

// The policy of these rollouts is the newest one: V-trace corrects nothing, in whatever parts the
// steps are gone through.
TEST(PpoLearnerTest, WithMemoryVTraceOfTheNewestPolicyIsGae) {
  for (const auto kind : {nn::RecurrentKind::kGru, nn::RecurrentKind::kLstm}) {
    PpoOptions options = SmallWithMemory("CartPole-v1", kind);
    options.rollout_steps = 230;  // Parts of 102 steps.
    options.gae_lambda = 1;
    PolicyUpdate updates[2];
    for (const bool vtrace : {false, true}) {
      options.vtrace = vtrace;
      Agent agent(options);
      agent.Collect();
      const auto result = agent.Update(0, {1e-3F, 0.2F});
      ASSERT_TRUE(result.ok());
      updates[vtrace ? 1 : 0] = *result;
    }
    EXPECT_EQ(updates[1].value_mean, updates[0].value_mean);
    EXPECT_NE(updates[0].value_mean, 0);
    EXPECT_NEAR(updates[1].explained_variance, updates[0].explained_variance, 1e-5);
  }
}

// An episode that is cut after the rollout's last step, and one that goes on in the next rollout:
// both are worth what the critic says that remembers it.
TEST(PpoLearnerTest, WithMemoryACutEpisodeIsWorthWhatItWouldBeUncut) {
  for (const auto kind : {nn::RecurrentKind::kGru, nn::RecurrentKind::kLstm}) {
    PolicyUpdate updates[2];
    for (const bool cut : {false, true}) {
      PpoOptions options = SmallWithMemory("Pendulum-v1", kind);
      options.environment.settings["max_episode_steps"] = cut ? "36" : "200";
      Agent agent(options);
      agent.Collect();
      EXPECT_EQ(agent.trajectories[0].cut.size(), cut ? 5U : 0U);
      const auto result = agent.Update(0, {1e-3F, 0.2F});
      ASSERT_TRUE(result.ok());
      updates[cut ? 1 : 0] = *result;
    }
    EXPECT_EQ(updates[1].advantage_mean, updates[0].advantage_mean);
    EXPECT_EQ(updates[1].policy_loss, updates[0].policy_loss);
    EXPECT_EQ(updates[1].value_loss, updates[0].value_loss);
  }
}

// Four samples whose advantages are known: what normalisation makes of them is the sample's mean
// 0 and deviation 1, with n - 1 below, as the gradient shows.
TEST(PpoLearnerTest, AdvantagesAreNormalisedByTheSamplesDeviation) {
  PpoOptions options = Small("CartPole-v1");
  options.lanes = 1;
  options.envs = options.rollout_steps = 2;
  options.minibatches = options.epochs = 1;
  options.gamma = options.gae_lambda = 0;  // An advantage is the reward less the value.
  options.value_coefficient = options.entropy_coefficient = 0;
  const auto gradient_norm = [&](bool normalize, const std::vector<float>& advantages) {
    options.normalize_advantages = normalize;
    Agent agent(options);
    agent.Collect();
    Trajectory& trajectory = agent.trajectories[0];
    agent.loop->ForLanes([&](LaneLoop::Block& block, std::size_t) {
      Tape& tape = agent.loop->BeginInference(block, agent.state->model.values());
      const Tensor values = agent.policy->Values(
          tape, tape.Input({4, agent.policy->features()}, trajectory.features.data()));
      for (std::size_t i = 0; i < 4; ++i) trajectory.rewards[i] = advantages[i] + values.data()[i];
    });
    const auto result = agent.Update(0, {1e-3F, 0.2F});
    EXPECT_TRUE(result.ok());
    return result->gradient_norm;
  };
  // Mean 3, deviations -2, -1, 0, 3: variance 14 / 3.
  const float one = std::sqrt(3.0F / 14.0F);
  const double by_hand = gradient_norm(false, {-2 * one, -one, 0, 3 * one});
  EXPECT_GT(by_hand, 1e-4);
  EXPECT_NEAR(gradient_norm(true, {1, 2, 3, 6}), by_hand, 1e-4 * by_hand);
}

// With nothing to gain the bonus alone moves the policy: to more entropy.
TEST(PpoLearnerTest, TheBonusRaisesTheEntropy) {
  PpoOptions options = Small("CartPole-v1");
  options.normalize_advantages = false;
  options.value_coefficient = 0;
  options.entropy_coefficient = 1;
  options.gamma = options.gae_lambda = 0;
  Agent agent(options);
  for (float& value : agent.state->model.values()) value *= 60;
  agent.state->model.Changed();
  agent.Collect();
  agent.loop->ForLanes([&](LaneLoop::Block& block, std::size_t lane) {
    Trajectory& trajectory = agent.trajectories[lane];
    Tape& tape = agent.loop->BeginInference(block, agent.state->model.values());
    const Tensor values = agent.policy->Values(
        tape,
        tape.Input({trajectory.rows(), agent.policy->features()}, trajectory.features.data()));
    std::copy_n(values.data(), trajectory.rows(), trajectory.rewards.begin());
  });
  const auto first = agent.Update(0, {1e-3F, 0.2F});
  ASSERT_TRUE(first.ok());
  const auto second = agent.Update(1, {1e-3F, 0.2F});
  ASSERT_TRUE(second.ok());
  EXPECT_LT(first->entropy, 0.69);  // Of two actions it is at most log 2.
  EXPECT_GT(second->entropy, first->entropy);
}

TEST(PpoLearnerTest, EachUpdateShufflesAnew) {
  const auto values_after = [](std::uint64_t update) {
    Agent agent(Small("CartPole-v1"));
    agent.Collect();
    EXPECT_TRUE(agent.Update(update, {1e-3F, 0.2F}).ok());
    return std::vector<float>(agent.state->model.values().begin(),
                              agent.state->model.values().end());
  };
  EXPECT_EQ(values_after(0), values_after(0));
  EXPECT_NE(values_after(0), values_after(1));
}

// A first step of Adam by a gradient as small as its epsilon is half the learning rate.
TEST(PpoLearnerTest, AdamHasTheEpsilonAskedFor) {
  const PpoOptions options = Small("CartPole-v1");
  Agent agent(options);
  ModelState& model = agent.state->model;
  const std::vector<float> before(model.values().begin(), model.values().end());
  const std::vector<float> gradient(before.size(), options.adam_epsilon);
  nn::OptimizerStep step;
  step.learning_rate = 0.5F;
  ASSERT_TRUE(model.Step(step, gradient, &agent.pool).ok());
  const std::size_t at = agent.policy->parameters().specs().front().offset;
  EXPECT_NEAR(before[at] - model.values()[at], 0.25F, 1e-4F);
}

}  // namespace
}  // namespace muster::rl
