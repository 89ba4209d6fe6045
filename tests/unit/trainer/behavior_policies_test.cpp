#include "trainer/rl/behavior_policies.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/trainer/small_agent.h"
#include "tests/unit/trainer/small_ppo.h"

namespace muster::rl {
namespace {

// Here the numerics are the same, so the bits are: also of a policy that remembers, over the ends
// of episodes and from rollout to rollout, and where rows are gone through in many parts.
TEST(BehaviorPoliciesTest, SayWhatTheActingPolicySaidOfEveryKindOfAgent) {
  for (auto [name, options] : test::SmallPpos()) {
    SCOPED_TRACE(name);
    options.envs = 400;
    options.rollout_steps = 34;  // Episodes end at 30.
    options.total_steps = options.batch_size();
    test::Agent agent(options);
    BehaviorPolicies policies(*agent.policy);
    policies.Keep(0, agent.state->model.values(), 0);
    for (int rollout = 0; rollout < 2; ++rollout) {
      agent.Collect();
      for (Trajectory& trajectory : agent.trajectories) {
        const std::vector<float> told = trajectory.log_probs;
        trajectory.log_probs[7] += 0.25F;
        trajectory.log_probs.back() -= 0.5F;
        ASSERT_TRUE(policies.Recompute(trajectory).ok());
        EXPECT_EQ(trajectory.log_probs, told);
        const BehaviorPolicies::Difference difference = policies.Take();
        EXPECT_NEAR(difference.largest, 0.5, 1e-5);
        EXPECT_NEAR(difference.sum, 0.75, 1e-5);
        EXPECT_EQ(difference.actions, 100.0 * 34);
        EXPECT_EQ(policies.Take().actions, 0);
      }
    }
  }
}

TEST(BehaviorPoliciesTest, KnowThoseThatStillAct) {
  test::Agent agent(test::SmallPpo("CartPole-v1"));
  agent.Collect();
  Trajectory& trajectory = agent.trajectories.front();
  const std::vector<float> told = trajectory.log_probs;
  BehaviorPolicies policies(*agent.policy);
  std::vector<float> other(agent.state->model.values().begin(), agent.state->model.values().end());
  for (float& value : other) value *= 0.5F;
  policies.Keep(3, other, 0);
  policies.Keep(4, agent.state->model.values(), 3);
  trajectory.version = 4;
  ASSERT_TRUE(policies.Recompute(trajectory).ok());
  EXPECT_EQ(trajectory.log_probs, told);
  trajectory.version = 3;
  ASSERT_TRUE(policies.Recompute(trajectory).ok());
  EXPECT_NE(trajectory.log_probs, told) << "each version has its own values";
  policies.Keep(5, other, 4);
  EXPECT_EQ(policies.Recompute(trajectory).message(), "no policy of version 3 acts");
}

}  // namespace
}  // namespace muster::rl
