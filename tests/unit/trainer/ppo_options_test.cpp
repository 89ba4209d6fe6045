#include "trainer/rl/ppo_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <vector>

namespace muster::rl {
namespace {

using testing::HasSubstr;

PpoOptions CartPole() {
  PpoOptions options;
  options.environment.name = "CartPole-v1";
  return options;
}

// Sizes of the ARENA curriculum: 4,610 parameters of the actor and 4,545 of the critic.
TEST(PpoOptionsTest, PlansThePublishedAgent) {
  const auto plan = PlanPpo(CartPole(), 1);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ(plan->parameters, 4610U + 4545U);
  EXPECT_EQ(plan->updates_total, 500'000U / 512);
}

TEST(PpoOptionsTest, SaysInALineWhatIsWrong) {
  const auto refusal = [](const std::function<void(PpoOptions&)>& change) {
    PpoOptions options = CartPole();
    change(options);
    const auto plan = PlanPpo(options, 1);
    EXPECT_FALSE(plan.ok());
    return plan.ok() ? std::string() : std::string(plan.status().message());
  };
  EXPECT_THAT(refusal([](PpoOptions& o) { o.environment.name = "CartPole-v7"; }),
              HasSubstr("CartPole-v1"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.environment.settings["gravity"] = "9"; }),
              HasSubstr("gravity"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.envs = 6, o.lanes = 4; }), HasSubstr("lanes (4)"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.minibatches = 3; }), HasSubstr("512"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.total_steps = 511; }), HasSubstr("total_steps 511"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.gamma = 1.5F; }), HasSubstr("gamma"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.epochs = 0; }), HasSubstr("epochs"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.learning_rate = 0; }), HasSubstr("learning_rate"));
  EXPECT_THAT(
      refusal([](PpoOptions& o) { o.value_coefficient = std::numeric_limits<float>::quiet_NaN(); }),
      HasSubstr("value_coefficient"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.environment.scale_actions = true; }),
              HasSubstr("Discrete(2)"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.policy.kind = PolicyKind::kNatureCnn; }),
              HasSubstr("pictures"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.policy.hidden = {64, 0}; }), HasSubstr("hidden"));
  EXPECT_THAT(refusal([](PpoOptions& o) {
                o.policy.memory = nn::RecurrentKind::kGru;
                o.minibatches = 8;
              }),
              HasSubstr("4 environments of a lane"));
  EXPECT_THAT(refusal([](PpoOptions& o) {
                o.policy.memory = nn::RecurrentKind::kGru;
                o.policy.memory_units = 0;
              }),
              HasSubstr("memory_units"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.policy.sde = true; }), HasSubstr("Discrete(2)"));
  for (const auto& change : std::vector<std::function<void(PpoOptions&)>>{
           [](PpoOptions& o) { o.policy.shared = true; },
           [](PpoOptions& o) { o.policy.memory = nn::RecurrentKind::kGru; }}) {
    EXPECT_THAT(refusal([&](PpoOptions& o) { o.vpg.emplace(), change(o); }),
                HasSubstr("vpg steps actor and critic apart"));
  }
  EXPECT_THAT(refusal([](PpoOptions& o) { o.vpg.emplace(), o.max_policy_lag = 1; }),
              HasSubstr("newest policy alone"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.asynchronous = true; }),
              HasSubstr("asynchronous needs max_policy_lag above 0"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.vpg.emplace().value_steps = 0; }),
              HasSubstr("value_steps"));
  EXPECT_THAT(refusal([](PpoOptions& o) { o.vpg.emplace().value_learning_rate = 0; }),
              HasSubstr("value_learning_rate"));
  EXPECT_THAT(refusal([](PpoOptions& o) {
                o.evaluation.stops = true;
                o.evaluation.episodes = 5;
              }),
              HasSubstr("every_updates"));
}

}  // namespace
}  // namespace muster::rl
