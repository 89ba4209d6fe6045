#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "envs/registry.h"

namespace muster::envs {
namespace {

constexpr std::int32_t kNorth = 0, kEast = 1, kSouth = 2, kWest = 3;

std::vector<float> Seen(const Env& env) {
  const auto seen = env.observation().As<float>();
  return {seen.begin(), seen.end()};
}

Transition Go(Env& env, std::int32_t way) {
  const auto step = env.Step(std::vector<std::int32_t>{way});
  EXPECT_TRUE(step.ok()) << step.status().message();
  return *step;
}

// Observations and rewards of Bakker's section 5.1, both signs.
TEST(TMazeTest, TellsTheWayAtTheStartAlone) {
  auto env = std::move(*MakeEnv("TMaze-v0", {{"length", "2"}}));
  int norths = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    ASSERT_TRUE(env->Reset(seed).ok());
    const std::vector<float> sign = Seen(*env);
    const bool north = sign == std::vector<float>{0, 1, 1};
    EXPECT_TRUE(north || (sign == std::vector<float>{1, 1, 0}));
    norths += north ? 1 : 0;
    EXPECT_EQ(Go(*env, kWest).reward, -0.1);   // A wall.
    EXPECT_EQ(Go(*env, kNorth).reward, -0.1);  // The same.
    EXPECT_EQ(Seen(*env), sign);
    EXPECT_EQ(Go(*env, kEast).reward, 0);
    EXPECT_EQ(Seen(*env), (std::vector<float>{1, 0, 1}));
    EXPECT_EQ(Go(*env, kEast).reward, 0);
    EXPECT_EQ(Seen(*env), (std::vector<float>{0, 1, 0}));
    EXPECT_EQ(Go(*env, kEast).reward, -0.1);
    const bool right = seed % 2 == 0;
    const Transition last = Go(*env, north == right ? kNorth : kSouth);
    EXPECT_TRUE(last.terminated);
    EXPECT_EQ(last.reward, right ? 4 : -0.1);
  }
  EXPECT_TRUE(norths > 2 && norths < 18) << norths;
}

TEST(TMazeTest, IsCutWhereNobodyTurns) {
  auto env = std::move(*MakeEnv("TMaze-v0", {{"length", "1"}}));
  ASSERT_TRUE(env->Reset(1).ok());
  for (int i = 0; i < 19; ++i) EXPECT_FALSE(Go(*env, kWest).ended());
  const Transition last = Go(*env, kWest);
  EXPECT_TRUE(last.truncated && !last.terminated);
}

}  // namespace
}  // namespace muster::envs
