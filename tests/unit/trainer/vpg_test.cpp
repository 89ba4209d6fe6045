#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "tests/unit/trainer/small_agent.h"
#include "tests/unit/trainer/watching_host.h"
#include "trainer/rl/ppo_trainer.h"
#include "trainer/rl/vpg_learner.h"

namespace muster::rl {
namespace {

PpoOptions Vpg() {
  PpoOptions options;
  options.environment.name = "CartPole-v1";
  options.environment.settings["max_episode_steps"] = "15";  // Some are cut, some fall.
  options.policy.hidden = {};
  options.vpg = VpgOptions{.value_steps = 1};
  options.envs = 6;
  options.lanes = 2;
  options.rollout_steps = 40;
  options.gae_lambda = 0.9F;
  options.entropy_coefficient = 0;
  options.gradient_clip_norm = 0;
  return options;
}

// A linear policy and a linear critic, in double.
struct Linear {
  explicit Linear(const test::Agent& agent) {
    for (const nn::ParameterSpec& spec : agent.policy->parameters().specs()) {
      const float* const at = agent.state->model.values().data() + spec.offset;
      const std::vector<double> values(at, at + spec.shape.elements());
      if (spec.name == "actor.head.weight") actor = values;
      if (spec.name == "critic.head.weight") critic = values;
    }
  }
  double Value(const float* x) const {
    double value = 0;
    for (int i = 0; i < 4; ++i) value += critic[i] * static_cast<double>(x[i]);
    return value;
  }
  double ProbabilityOfOne(const float* x) const {
    double difference = 0;
    for (int i = 0; i < 4; ++i) difference += (actor[4 + i] - actor[i]) * static_cast<double>(x[i]);
    return 1 / (1 + std::exp(-difference));
  }
  std::vector<double> actor, critic;
};

// GAE of one environment, from the definitions: a sum over the steps that follow.
struct Worth {
  std::vector<double> advantages, returns;
};
Worth WorthOf(const Trajectory& all, std::size_t env, const Linear& net, double gamma,
              double lambda) {
  const auto row = [&](std::size_t t) { return t * all.envs + env; };
  const auto after = [&](std::size_t t) {  // What the state behind step t is worth.
    if (all.terminated[row(t)] != 0) return 0.0;
    for (std::size_t i = 0; i < all.cut.size(); ++i) {
      if (all.cut[i] == row(t)) return net.Value(&all.cut_features[i * 4]);
    }
    return t + 1 < all.steps ? net.Value(&all.features[row(t + 1) * 4])
                             : net.Value(&all.last_features[env * 4]);
  };
  Worth worth;
  for (std::size_t t = 0; t < all.steps; ++t) {
    double advantage = 0, trace = 1, rewards = 0, discount = 1;
    for (std::size_t k = t; k < all.steps; ++k) {
      const auto reward = static_cast<double>(all.rewards[row(k)]);
      advantage += trace * (reward + gamma * after(k) - net.Value(&all.features[row(k) * 4]));
      rewards += discount * reward;
      trace *= gamma * lambda;
      discount *= gamma;
      const bool ended = all.terminated[row(k)] != 0 || all.truncated[row(k)] != 0;
      if (!ended && k + 1 < all.steps) continue;
      rewards += discount * after(k);
      break;
    }
    worth.advantages.push_back(advantage);
    worth.returns.push_back(rewards);
  }
  return worth;
}

// Losses and the policy's gradient against sums in double over linear networks.
TEST(VpgTest, IsThePolicyGradientOfTheDefinition) {
  for (const bool normalize : {false, true}) {
    PpoOptions options = Vpg();
    options.normalize_advantages = normalize;
    test::Agent agent(options);
    agent.Collect();
    const Linear net(agent);
    std::vector<double> advantages, returns;
    std::vector<const float*> seen;
    std::vector<int> taken;
    for (const Trajectory& lane : agent.trajectories) {
      EXPECT_FALSE(lane.cut.empty());
      for (std::size_t env = 0; env < lane.envs; ++env) {
        const Worth worth = WorthOf(lane, env, net, 0.99, 0.9);
        advantages.insert(advantages.end(), worth.advantages.begin(), worth.advantages.end());
        returns.insert(returns.end(), worth.returns.begin(), worth.returns.end());
        for (std::size_t t = 0; t < lane.steps; ++t) {
          seen.push_back(&lane.features[(t * lane.envs + env) * 4]);
          taken.push_back(lane.actions.choices[t * lane.envs + env]);
        }
      }
    }
    const auto count = static_cast<double>(advantages.size());
    double mean = 0, variance = 0;
    for (const double each : advantages) mean += each / count;
    for (const double each : advantages) variance += (each - mean) * (each - mean) / (count - 1);
    double loss = 0, value_loss = 0;
    std::vector<double> slope(
        5);  // Of the second logit's weights and bias; the first's is minus it.
    for (std::size_t i = 0; i < advantages.size(); ++i) {
      const double a = normalize ? (advantages[i] - mean) / std::sqrt(variance) : advantages[i];
      const double p = net.ProbabilityOfOne(seen[i]);
      loss -= a * std::log(taken[i] == 1 ? p : 1 - p) / count;
      const double error = net.Value(seen[i]) - returns[i];
      value_loss += error * error / 2 / count;
      for (int k = 0; k < 5; ++k) {
        const double x = k < 4 ? static_cast<double>(seen[i][k]) : 1.0;
        slope[static_cast<std::size_t>(k)] -= a * (taken[i] - p) * x / count;
      }
    }
    double norm = 0;
    for (const double each : slope) norm += 2 * each * each;
    const auto update = agent.Update(0, {.learning_rate = 1e-3F, .value_learning_rate = 1e-3F});
    ASSERT_TRUE(update.ok()) << update.status().message();
    EXPECT_NEAR(update->policy_loss, loss, 1e-5);
    EXPECT_NEAR(update->value_loss, value_loss, 1e-4 * value_loss);
    EXPECT_NEAR(update->gradient_norm, std::sqrt(norm), 1e-5);
    EXPECT_EQ(update->first_ratio_error, 0);
    EXPECT_GT(update->approx_kl, 0);
  }
}

// Each step moves its own network to the bit: Adam's momentum does not reach the other.
TEST(VpgTest, PolicyAndValueStepsMoveTheirOwnNetworks) {
  PpoOptions options = Vpg();
  options.policy.hidden = {8};
  options.vpg->value_steps = 4;
  test::Agent agent(options);
  const auto moved = [&](std::uint64_t update, const UpdateRates& rates) {
    const std::vector<float> before(agent.state->model.values().begin(),
                                    agent.state->model.values().end());
    agent.Collect();
    EXPECT_TRUE(agent.Update(update, rates).ok());
    std::set<std::string> networks;
    for (const nn::ParameterSpec& spec : agent.policy->parameters().specs()) {
      for (std::size_t i = spec.offset; i < spec.offset + spec.shape.elements(); ++i) {
        if (agent.state->model.values()[i] == before[i]) continue;
        networks.insert(spec.name.substr(0, spec.name.find('.')));
      }
    }
    return networks;
  };
  const std::set<std::string> actor = {"actor"}, critic = {"critic"}, both = {"actor", "critic"};
  EXPECT_EQ(moved(0, {.learning_rate = 1e-2F, .value_learning_rate = 1e-2F}), both);
  EXPECT_EQ(moved(1, {.learning_rate = 1e-2F}), actor);
  EXPECT_EQ(moved(2, {.value_learning_rate = 1e-2F}), critic);
}

TEST(VpgTest, LearnsCartPole) {
  PpoOptions options = Vpg();
  options.environment.settings.clear();
  options.policy.hidden = {64};
  options.vpg = VpgOptions{.value_steps = 10, .value_learning_rate = 1e-2F};
  options.gae_lambda = 0.97F;
  options.learning_rate = 2e-2F;
  options.anneal_learning_rate = false;
  options.envs = 32;
  options.rollout_steps = 125;
  options.total_steps = 100 * options.batch_size();
  options.evaluation = {.every_updates = 10, .episodes = 20, .stop_at_return = 475, .stops = true};
  const auto outcome = test::RunRanks<PpoResult>(
      {1, 2}, UINT64_MAX, 0, [&](Group& group, ThreadPool& pool, TrainerHost& host) {
        return TrainPpo(options, TrainingRun(), group, pool, host);
      });
  ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
  EXPECT_TRUE(outcome.results[0]->reached) << outcome.results[0]->evaluation->return_mean;
}

}  // namespace
}  // namespace muster::rl
