#include "trainer/rl/advantages.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace muster::rl {
namespace {

struct Rollout {
  std::size_t steps, envs;
  std::vector<float> rewards, values, final_values, last_values, ratios;
  std::vector<std::uint8_t> terminated, truncated;

  Rollout(std::size_t t, std::size_t n, unsigned seed) : steps(t), envs(n) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < t * n; ++i) {
      rewards.push_back(normal(random));
      values.push_back(normal(random));
      final_values.push_back(normal(random));
      ratios.push_back(std::exp(0.5F * normal(random)));
      terminated.push_back(random() % 5 == 0);
      truncated.push_back(random() % 5 == 0);
    }
    for (std::size_t i = 0; i < n; ++i) last_values.push_back(normal(random));
  }
  RolloutView view() const {
    return {steps, envs, rewards, values, terminated, truncated, final_values, last_values};
  }
  bool ended(std::size_t at) const { return terminated[at] != 0 || truncated[at] != 0; }
  double next_value(std::size_t t, std::size_t env) const {
    const std::size_t at = t * envs + env;
    if (terminated[at] != 0) return 0;
    if (truncated[at] != 0) return static_cast<double>(final_values[at]);
    return static_cast<double>(t + 1 < steps ? values[at + envs] : last_values[env]);
  }
  double surprise(std::size_t t, std::size_t env, double gamma) const {
    const std::size_t at = t * envs + env;
    return static_cast<double>(rewards[at]) + gamma * next_value(t, env) -
           static_cast<double>(values[at]);
  }
};

// Three steps of one environment, by hand: gamma 1/2, lambda 1/2.
TEST(AdvantagesTest, AWorkedExample) {
  Rollout r(3, 1, 1);
  r.rewards = {1, 2, 3};
  r.values = {4, 5, 6};
  r.last_values = {8};
  r.final_values = {100, 10, 100};
  r.terminated = {0, 0, 0};
  r.truncated = {0, 0, 0};
  std::vector<float> advantages(3), returns(3);
  // Surprises: 1 + 5/2 - 4 = -1/2; 2 + 6/2 - 5 = 0; 3 + 8/2 - 6 = 1. A quarter is carried back.
  Gae(r.view(), {0.5F, 0.5F}, advantages, returns);
  EXPECT_EQ(advantages, (std::vector<float>{-0.4375F, 0.25F, 1}));
  EXPECT_EQ(returns, (std::vector<float>{3.5625F, 5.25F, 7}));
  // Cut short after the second step: its final observation is worth 10, and nothing is carried.
  r.truncated = {0, 1, 0};
  Gae(r.view(), {0.5F, 0.5F}, advantages, returns);
  EXPECT_EQ(advantages, (std::vector<float>{0, 2, 1}));
  // Ended by itself there, on its last allowed step: worth nothing.
  r.terminated = {0, 1, 0};
  Gae(r.view(), {0.5F, 0.5F}, advantages, returns);
  EXPECT_EQ(advantages, (std::vector<float>{-1.25F, -3, 1}));
}

// The definition, not the recursion: sum over l of (gamma lambda)^l surprise_{t + l}, up to the
// end.
TEST(AdvantagesTest, GaeIsTheDiscountedSumOfSurprises) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    const Rollout r(1 + seed, 1 + seed % 5, seed);
    const double gamma = 0.9, lambda = seed % 3 == 0 ? 0.0 : 0.8;
    std::vector<float> advantages(r.rewards.size()), returns(r.rewards.size());
    Gae(r.view(), {0.9F, static_cast<float>(lambda)}, advantages, returns);
    for (std::size_t env = 0; env < r.envs; ++env) {
      for (std::size_t t = 0; t < r.steps; ++t) {
        double sum = 0, weight = 1;
        for (std::size_t k = t; k < r.steps; ++k) {
          sum += weight * r.surprise(k, env, gamma);
          if (r.ended(k * r.envs + env)) break;
          weight *= gamma * lambda;
        }
        const std::size_t at = t * r.envs + env;
        EXPECT_NEAR(static_cast<double>(advantages[at]), sum, 2e-5);
        EXPECT_NEAR(static_cast<double>(returns[at]), sum + static_cast<double>(r.values[at]),
                    2e-5);
      }
    }
  }
}

// Equation 1 of the paper, term by term.
TEST(AdvantagesTest, VTraceIsItsDefinition) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    const Rollout r(1 + seed, 1 + seed % 3, seed);
    const double gamma = 0.9, rho_max = 1.2, c_max = 0.9;
    std::vector<float> advantages(r.rewards.size()), targets(r.rewards.size());
    VTrace(r.view(), r.ratios, {0.9F, 1, 1.2F, 0.9F}, advantages, targets);
    for (std::size_t env = 0; env < r.envs; ++env) {
      const auto target = [&](std::size_t s) {
        double sum = static_cast<double>(r.values[s * r.envs + env]), weight = 1;
        for (std::size_t k = s; k < r.steps; ++k) {
          const auto ratio = static_cast<double>(r.ratios[k * r.envs + env]);
          sum += weight * std::min(rho_max, ratio) * r.surprise(k, env, gamma);
          if (r.ended(k * r.envs + env)) break;
          weight *= gamma * std::min(c_max, ratio);
        }
        return sum;
      };
      for (std::size_t t = 0; t < r.steps; ++t) {
        const std::size_t at = t * r.envs + env;
        EXPECT_NEAR(static_cast<double>(targets[at]), target(t), 2e-5);
        const bool cut = r.ended(at) || t + 1 == r.steps;
        const double next = cut ? r.next_value(t, env) : target(t + 1);
        const double rho = std::min(rho_max, static_cast<double>(r.ratios[at]));
        const double advantage = rho * (static_cast<double>(r.rewards[at]) + gamma * next -
                                        static_cast<double>(r.values[at]));
        EXPECT_NEAR(static_cast<double>(advantages[at]), advantage, 3e-5);
      }
    }
  }
}

TEST(AdvantagesTest, OnPolicyTargetsOfVTraceAreGaesReturns) {
  Rollout r(40, 6, 9);
  r.ratios.assign(r.ratios.size(), 1);
  std::vector<float> advantages(240), returns(240), unused(240), targets(240);
  Gae(r.view(), {0.97F, 0.9F}, advantages, returns);
  VTrace(r.view(), r.ratios, {0.97F, 0.9F, 1, 1}, unused, targets);
  for (std::size_t i = 0; i < 240; ++i) EXPECT_NEAR(targets[i], returns[i], 2e-5F);
}

TEST(AdvantagesTest, AnEnvironmentsNumbersDependOnNoOther) {
  const Rollout r(25, 7, 3);
  std::vector<float> all(175), returns(175);
  Gae(r.view(), {}, all, returns);
  const auto column = [&](const auto& values) {
    auto one = values;
    one.clear();
    for (std::size_t t = 0; t < 25; ++t) one.push_back(values[t * 7 + 4]);
    return one;
  };
  Rollout alone(25, 1, 0);
  alone.rewards = column(r.rewards);
  alone.values = column(r.values);
  alone.final_values = column(r.final_values);
  alone.terminated = column(r.terminated);
  alone.truncated = column(r.truncated);
  alone.last_values = {r.last_values[4]};
  std::vector<float> advantages(25), targets(25);
  Gae(alone.view(), {}, advantages, targets);
  EXPECT_EQ(advantages, column(all));
  EXPECT_EQ(targets, column(returns));
}

}  // namespace
}  // namespace muster::rl
