#include "trainer/rl/rollout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "envs/registry.h"
#include "envs/wrappers/observations.h"
#include "envs/wrappers/vector_wrapper.h"
#include "tensor/kernels/state_dependent_noise.h"

namespace muster::rl {
namespace {

using testing::HasSubstr;

// CartPole said to be pictures.
class Pictures final : public envs::VectorWrapper {
 public:
  explicit Pictures(std::vector<std::size_t> shape)
      : VectorWrapper(CartPole(), SpecOf(std::move(shape))) {}

 private:
  static std::unique_ptr<envs::VectorEnv> CartPole() {
    return std::move(*envs::MakeVectorEnv("CartPole-v1", {}, {.envs = 1}));
  }
  static envs::EnvSpec SpecOf(std::vector<std::size_t> shape) {
    envs::EnvSpec spec = CartPole()->spec();
    spec.observation = envs::Space::Box(std::move(shape), 0, 255, envs::DType::kUint8);
    return spec;
  }
};

TEST(PolicyTest, ACnnTakesPicturesWhoseFramesAreStackedAlongChannels) {
  const auto first_filters = [](std::vector<std::size_t> shape, envs::StackAxis axis) {
    const auto stack = envs::StackFrames(std::make_unique<Pictures>(std::move(shape)), 4, axis);
    EXPECT_TRUE(stack.ok()) << stack.status().message();
    const auto policy = Policy::Create({.kind = PolicyKind::kNatureCnn, .hidden = {16}},
                                       (*stack)->spec().observation, (*stack)->spec().action);
    if (!policy.ok()) return std::string(policy.status().message());
    return std::to_string((*policy)->parameters()[0].shape.elements());
  };
  const auto channels = envs::StackAxis::kChannels;
  EXPECT_EQ(first_filters({36, 40}, channels), std::to_string(32 * 8 * 8 * 4));
  EXPECT_EQ(first_filters({36, 40, 3}, channels), std::to_string(32 * 8 * 8 * 3 * 4));
  EXPECT_THAT(first_filters({36, 40, 3}, envs::StackAxis::kFirst), HasSubstr("is none"));
  EXPECT_EQ(first_filters({35, 40}, channels), "nature_cnn: height and width must be at least 36");
}

// A policy with the values of a seed, and a lane's environments for it.
struct Player {
  explicit Player(const EnvironmentOptions& environment, std::size_t envs = 6,
                  std::size_t lane_number = 0, const PolicyOptions& agent = {.hidden = {16}}) {
    const envs::EnvSpec spec = MakeWrappedEnvs(environment, 1)->env->spec();
    policy = std::move(*Policy::Create(agent, spec.observation, spec.action));
    lane = std::move(*LaneEnvs::Create(environment, envs, 5, lane_number, policy->memory()));
    values.resize(policy->parameters().flat_elements());
    policy->parameters().Initialize(9, values);
    policy->FinishValues(values);
    moments.observations = envs::Moments(lane->normalized_elements());
    if (environment.normalize_rewards) moments.rewards = envs::Moments(1);
    EXPECT_TRUE(lane->Reset().ok());
  }
  Trajectory Collect(std::size_t steps) {
    Trajectory trajectory;
    leaves = policy->parameters().Bind(values, {});
    const Status status = collector.Collect(
        *policy,
        [this]() -> Tape& {
          tape.Begin(leaves);
          return tape;
        },
        moments, steps, *lane, trajectory);
    EXPECT_TRUE(status.ok()) << status.message();
    return trajectory;
  }

  // The next version's moments.
  void Learn() {
    for (double& mean : moments.observations.mean) mean = 0.25;
    for (double& variance : moments.observations.variance) variance = 0.5;
    moments.rewards.variance[0] = 3;
  }

  std::unique_ptr<LaneEnvs> lane;
  std::unique_ptr<Policy> policy;
  std::vector<float> values;
  std::vector<LeafBinding> leaves;
  NormalizerMoments moments;
  Collector collector;
  Tape tape{TapeOptions{.inference = true}};
};

EnvironmentOptions Environment(const std::string& name) {
  EnvironmentOptions options;
  options.name = name;
  options.settings["max_episode_steps"] = "9";
  options.normalize_observations = true;
  options.normalize_rewards = true;
  return options;
}

std::string BytesOf(const Trajectory& trajectory) {
  std::string bytes;
  envs::ByteWriter to(bytes);
  trajectory.Save(to);
  return bytes;
}

// The second of the two ideas that carry the design: a rollout depends on its arguments alone.
TEST(RolloutTest, IsAPureFunctionOfTheLanesState) {
  const PolicyOptions none = {.hidden = {16}};
  const PolicyOptions lstm = {.hidden = {16}, .memory = nn::RecurrentKind::kLstm};
  const PolicyOptions sde = {.hidden = {16}, .sde = true, .sde_sample_freq = 4};
  for (const auto& [name, agent] : {std::pair("CartPole-v1", none),
                                    {"Pendulum-v1", none},
                                    {"CartPole-v1", lstm},
                                    {"Pendulum-v1", sde}}) {
    SCOPED_TRACE(name);
    Player here(Environment(name), 6, 0, agent);
    here.Collect(13);
    std::string state;
    here.lane->Save(state);
    here.Learn();
    const std::string expected = BytesOf(here.Collect(20));
    Player there(Environment(name), 6, 0, agent);
    there.Collect(3);  // Whatever it has lived through before.
    ASSERT_TRUE(there.lane->Load(state).ok());
    there.Learn();
    EXPECT_EQ(BytesOf(there.Collect(20)), expected);
    std::string after_here, after_there;
    here.lane->Save(after_here);
    there.lane->Save(after_there);
    EXPECT_EQ(after_here, after_there);
  }
}

TEST(RolloutTest, TwoShortRolloutsAreOneLongOne) {
  Player once(Environment("CartPole-v1")), twice(Environment("CartPole-v1"));
  const Trajectory all = once.Collect(20);
  const Trajectory first = twice.Collect(12), second = twice.Collect(8);
  std::vector<float> joined = first.features;
  joined.insert(joined.end(), second.features.begin(), second.features.end());
  EXPECT_EQ(joined, all.features);
  EXPECT_EQ(second.last_features, all.last_features);
}

TEST(RolloutTest, EnvironmentsOfALaneAreTheSameInAnyLane) {
  Player whole(Environment("CartPole-v1"), 6), second(Environment("CartPole-v1"), 3, 1);
  const Trajectory all = whole.Collect(20), part = second.Collect(20);
  for (std::size_t step = 0; step < 20; ++step) {
    for (std::size_t env = 0; env < 3; ++env) {
      EXPECT_EQ(all.log_probs[step * 6 + 3 + env], part.log_probs[step * 3 + env]);
      EXPECT_EQ(all.actions.choices[step * 6 + 3 + env], part.actions.choices[step * 3 + env]);
    }
  }
}

// Episodes end after 9 steps: what is remembered at step 18 is nothing, at step 20 is something.
TEST(RolloutTest, AnEpisodeBeginsWithoutMemoryOfTheLast) {
  const PolicyOptions agent = {
      .hidden = {16}, .memory = nn::RecurrentKind::kGru, .memory_units = 5};
  Player player(Environment("Pendulum-v1"), 2, 0, agent);
  EXPECT_EQ(player.Collect(18).memory, std::vector<float>(10));
  EXPECT_EQ(player.Collect(2).memory, std::vector<float>(10));
  const Trajectory third = player.Collect(1);
  EXPECT_EQ(std::count(third.memory.begin(), third.memory.end(), 0.0F), 0);
  ASSERT_TRUE(player.lane->Reset().ok());
  EXPECT_EQ(player.Collect(1).memory, std::vector<float>(10));
}

// gSDE over a linear actor, in double: the matrix of a step is the one that was drawn when the
// environment's steps were last a multiple of sde_sample_freq, or when the rollout began, in
// whatever rollout that was.
TEST(RolloutTest, NoiseMatricesLastForTheStepsAskedFor) {
  for (const std::size_t every : {0U, 4U}) {
    EnvironmentOptions environment;
    environment.name = "Pendulum-v1";
    Player player(environment, 2, 3,
                  {.hidden = {}, .log_std = -1, .sde = true, .sde_sample_freq = every});
    const nn::ParameterSet& parameters = player.policy->parameters();
    const auto values = [&](const std::string& name) {
      for (const nn::ParameterSpec& spec : parameters.specs()) {
        if (spec.name == name) return player.values.data() + spec.offset;
      }
      return static_cast<float*>(nullptr);
    };
    float* const weight = values("actor.head.weight");
    float* const log_std = values("actor.log_std");
    log_std[1] = 0.5F;  // Not all alike.
    for (const std::uint64_t begin : {0U, 6U}) {
      const Trajectory trajectory = player.Collect(6);
      for (std::uint64_t t = 0; t < 6; ++t) {
        for (std::uint32_t env = 0; env < 2; ++env) {
          const std::uint64_t drawn = every == 0 ? begin : (begin + t) / every * every;
          std::vector<float> noise(3);
          DrawNoiseMatrix({5, RandomPurpose::kAction, (1U << 30U) + 6 + env, drawn}, noise);
          const float* const x = &trajectory.features[(t * 2 + env) * 3];
          double action = 0, variance = 1e-6;
          for (int i = 0; i < 3; ++i) {
            const auto feature = static_cast<double>(x[i]);
            const double deviation = std::exp(static_cast<double>(log_std[i]));
            action +=
                feature * (static_cast<double>(weight[i]) +
                           deviation * static_cast<double>(noise[static_cast<std::size_t>(i)]));
            variance += feature * feature * deviation * deviation;
          }
          double mean = 0;
          for (int i = 0; i < 3; ++i)
            mean += static_cast<double>(x[i]) * static_cast<double>(weight[i]);
          EXPECT_NEAR(trajectory.actions.numbers[t * 2 + env], action, 1e-5);
          const double log_prob = -(action - mean) * (action - mean) / variance / 2 -
                                  std::log(2 * std::acos(-1.0) * variance) / 2;
          EXPECT_NEAR(trajectory.log_probs[t * 2 + env], log_prob, 1e-4);
        }
      }
    }
  }
}

// A pendulum is never done: after 9 steps it is cut, and what it would have seen next is kept.
TEST(RolloutTest, KeepsWhatCutEpisodesWouldHaveGoneOnFrom) {
  Player player(Environment("Pendulum-v1"), 2);
  const Trajectory trajectory = player.Collect(10);
  EXPECT_EQ(trajectory.cut, (std::vector<std::uint32_t>{16, 17}));
  EXPECT_EQ(trajectory.cut_features.size(), 2U * 3);
  EXPECT_EQ(trajectory.episodes.size(), 2U);
  EXPECT_EQ(trajectory.episodes[0].length, 9U);
  // The next episode's first observation is another one.
  EXPECT_NE(
      std::vector<float>(trajectory.cut_features.begin(), trajectory.cut_features.begin() + 3),
      std::vector<float>(trajectory.features.begin() + 54, trajectory.features.begin() + 57));
}

TEST(RolloutTest, BytesOfATrajectoryReadBackAndDamagedOnesAreRefused) {
  Player player(Environment("Pendulum-v1"), 2);
  const std::string bytes = BytesOf(player.Collect(10));
  Trajectory read;
  envs::ByteReader whole(bytes);
  ASSERT_TRUE(read.Load(whole, *player.policy, 10, 2).ok());
  EXPECT_EQ(BytesOf(read), bytes);
  for (std::size_t size = 0; size < bytes.size(); size += 7) {
    envs::ByteReader part(std::string_view(bytes).substr(0, size));
    EXPECT_FALSE(read.Load(part, *player.policy, 10, 2).ok()) << size;
  }
  envs::ByteReader other(bytes);
  EXPECT_FALSE(read.Load(other, *player.policy, 10, 3).ok());
  // A length that nothing holds costs nothing.
  std::string lie = bytes;
  for (std::size_t i = 8; i < 16; ++i) lie[i] = '\x7f';
  envs::ByteReader lying(lie);
  EXPECT_FALSE(read.Load(lying, *player.policy, 10, 2).ok());
}

TEST(RolloutTest, ATrajectoryOfChoicesThatThereAreNotIsRefused) {
  Player player(Environment("CartPole-v1"), 2);
  Trajectory rollout = player.Collect(10);
  for (const std::int32_t choice : {1, 0, 2, -1}) {
    rollout.actions.choices[7] = choice;
    const std::string bytes = BytesOf(rollout);
    envs::ByteReader from(bytes);
    Trajectory read;
    EXPECT_EQ(read.Load(from, *player.policy, 10, 2).ok(), choice == 0 || choice == 1) << choice;
  }
}

}  // namespace
}  // namespace muster::rl
