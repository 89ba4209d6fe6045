// Every environment that there is passes the conformance suite, alone and in batches.
#include "envs/registry.h"

#include <gtest/gtest.h>

#include "envs/check.h"
#include "envs/describe.h"

namespace muster::envs {
namespace {

TEST(RegistryTest, EveryEnvironmentKeepsItsPromises) {
  ASSERT_GE(Registry().size(), 21U);
  for (const EnvEntry& entry : Registry()) {
    SCOPED_TRACE(entry.name);
    const auto make = [&] { return MakeEnv(entry.name); };
    const auto batch = [&](const VectorOptions& options) {
      return MakeVectorEnv(entry.name, {}, options);
    };
    const auto lines = CheckEnv(make);
    EXPECT_TRUE(AllPassed(lines)) << TextOf(lines);
    const auto batches = CheckBatch(make, batch);
    EXPECT_TRUE(AllPassed(batches)) << TextOf(batches);
  }
}

TEST(RegistryTest, OptionsReachTheFastBatchToo) {
  const EnvOptions options = {{"max_episode_steps", "3"}, {"g", "3.5"}};
  const auto make = [&] { return MakeEnv("Pendulum-v1", options); };
  const auto batch = [&](const VectorOptions& many) {
    return MakeVectorEnv("Pendulum-v1", options, many);
  };
  const auto lines = CheckBatch(make, batch);
  EXPECT_TRUE(AllPassed(lines)) << TextOf(lines);
  EXPECT_EQ((*make())->spec().steps_max, 3U);
}

TEST(RegistryTest, AnUnknownNameShowsTheNearest) {
  const auto made = MakeEnv("cartpole");
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.status().code(), StatusCode::kNotFound);
  EXPECT_NE(made.status().message().find("CartPole-v1"), std::string::npos)
      << made.status().message();
  EXPECT_EQ((*MakeEnv("Taxi-v3"))->spec().name, "Taxi-v4");
  EXPECT_NE(MakeEnv("MountanCar-v0").status().message().find("MountainCar-v0"), std::string::npos);
}

TEST(RegistryTest, WrongOptionsAreToldInOneLine) {
  const auto message = [](const EnvOptions& options) {
    const auto made = MakeEnv("FrozenLake-v1", options);
    EXPECT_EQ(made.status().code(), StatusCode::kInvalidArgument);
    return made.status().message();
  };
  EXPECT_EQ(message({{"is_slipery", "true"}}).substr(0, 56),
            "FrozenLake-v1: unknown option is_slipery; there are: is_");
  EXPECT_EQ(message({{"is_slippery", "maybe"}}),
            "FrozenLake-v1: option is_slippery: 'maybe' is not true or false");
  EXPECT_EQ(message({{"map_name", "5x5"}}),
            "FrozenLake-v1: option map_name: '5x5' is not one of 4x4, 8x8");
  EXPECT_EQ(message({{"success_rate", "1.5"}}),
            "FrozenLake-v1: option success_rate: '1.5' is not a number in 0..1");
  EXPECT_EQ(message({{"goal_reward", "inf"}}),
            "FrozenLake-v1: option goal_reward: 'inf' is not a finite number");
  EXPECT_EQ(message({{"max_episode_steps", "-1"}}),
            "FrozenLake-v1: option max_episode_steps: '-1' is not a whole number in "
            "0..2.14748e+09");
  EXPECT_NE(message({{"desc", "SF/FFG"}}).find("rows of one length"), std::string::npos);
  EnvOptions options;
  EXPECT_FALSE(AddOption("g", options).ok());
}

TEST(DescribeTest, ListsAndShowsEnvironmentsWithTheirOptions) {
  EXPECT_NE(ListText().find("Acrobot-v1                classic   swing two links above a line\n"),
            std::string::npos);
  const auto shown = ShowText("Pendulum-v1", {{"max_episode_steps", "50"}});
  ASSERT_TRUE(shown.ok());
  EXPECT_EQ(
      *shown,
      "Pendulum-v1\n"
      "observation   Box([-1, -1, -8]..[1, 1, 8], [3], float32)\n"
      "              0 cos, 1 sin, 2 angular velocity\n"
      "action        Box(-2..2, [1], float32)\n"
      "reward        -16.2736..0\n"
      "time limit    50 steps\n"
      "state         is saved\n"
      "  --set g=10                        acceleration of gravity, m/s^2\n"
      "  --set max_episode_steps=200       truncates an episode after so many steps; 0 = never\n");
  EXPECT_FALSE(ShowText("Pendulum").ok());
}

}  // namespace
}  // namespace muster::envs
