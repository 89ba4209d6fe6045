#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/trainer/data_files.h"
#include "trainer/rl/probe_agent.h"

namespace muster::rl {
namespace {

using testing::HasSubstr;

// Expectations of the ARENA curriculum: values 1, +-1, (gamma, 1), 1, (1, 1) and the right action.
TEST(ProbeAgentTest, ThePublishedAgentPassesAllFive) {
  ThreadPool pool(1);
  PpoOptions options;
  options.environment.name = "CartPole-v1";
  const auto results = ProbeAgent(options, pool);
  ASSERT_TRUE(results.ok()) << results.status().message();
  ASSERT_EQ(results->size(), 5U);
  for (const ProbeResult& probe : *results) {
    EXPECT_TRUE(probe.passed) << probe.name << ": " << probe.learnt;
  }
  EXPECT_THAT((*results)[2].learnt, HasSubstr("(0.9900)"));
}

// The third probe's values are those of an episode's two steps, one after the other.
TEST(ProbeAgentTest, AnAgentWithMemoryPassesThemToo) {
  ThreadPool pool(1);
  PpoOptions options;
  options.environment.name = "CartPole-v1";
  options.policy.hidden = {32};
  options.policy.memory = nn::RecurrentKind::kGru;
  options.policy.memory_units = 32;
  const auto results = ProbeAgent(options, pool, {.steps_factor = 1, .tolerance_factor = 10});
  ASSERT_TRUE(results.ok()) << results.status().message();
  for (const ProbeResult& probe : *results) {
    EXPECT_TRUE(probe.passed) << probe.name << ": " << probe.learnt;
  }
}

TEST(ProbeAgentTest, AnAgentOfVanillaPolicyGradientPassesThemToo) {
  ThreadPool pool(1);
  PpoOptions options;
  options.environment.name = "CartPole-v1";
  options.vpg = VpgOptions{.value_steps = 10};
  const auto results = ProbeAgent(options, pool, {.steps_factor = 5, .tolerance_factor = 5});
  ASSERT_TRUE(results.ok()) << results.status().message();
  for (const ProbeResult& probe : *results) {
    EXPECT_TRUE(probe.passed) << probe.name << ": " << probe.learnt;
  }
}

// Without a value loss the critic learns nothing: the first probe says so.
TEST(ProbeAgentTest, ABrokenAgentFailsWhereItIsBroken) {
  ThreadPool pool(1);
  PpoOptions options;
  options.environment.name = "CartPole-v1";
  options.value_coefficient = 0;
  const auto results = ProbeAgent(options, pool);
  ASSERT_TRUE(results.ok()) << results.status().message();
  EXPECT_FALSE(results->front().passed);
  EXPECT_THAT(results->front().look_at, HasSubstr("value loss"));
}

}  // namespace
}  // namespace muster::rl
