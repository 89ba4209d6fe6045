// Learners for multi-armed bandits, with their rules of exploration.
// Source: Sutton and Barto, "Reinforcement learning", 2nd edition, chapter 2.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/rl/tabular/action_values.h"

namespace muster::rl {

enum class BanditRule : std::uint8_t {
  kEpsilonGreedy,  // Sections 2.2 to 2.6.
  kUcb,            // Upper confidence bound, section 2.7.
  kGradient,       // Softmax of learnt preferences, section 2.8.
  kRandom,         // Any arm: the floor.
  kCheater,        // The arm that is best in truth: the ceiling.
};

struct BanditOptions {
  BanditRule rule = BanditRule::kEpsilonGreedy;
  double epsilon = 0.1;      // kEpsilonGreedy: the share of pulls at random.
  double initial_value = 0;  // Of every arm's estimate; above all rewards = optimism.
  double confidence = 2;     // kUcb: c.
  double learning_rate = 0;  // alpha; 0 = the sample average, 1/n (kGradient: needs one).
};

// All that a learner knows of its arms.
struct BanditState {
  std::vector<double> values;       // [arms]: estimates Q; preferences H of kGradient.
  std::vector<std::int64_t> pulls;  // [arms]
  double reward_mean = 0;           // Of all pulls: the baseline of kGradient.

  BanditState(std::size_t arms, double initial) : values(arms, initial), pulls(arms) {}
};

// `truth` [arms] are the mean rewards, for kCheater alone; empty for the others.
std::size_t ChooseArm(const BanditOptions& options, const BanditState& state,
                      std::span<const double> truth, RunRandom& random);
// Learns that `arm` paid `reward`.
void ObserveReward(const BanditOptions& options, std::size_t arm, double reward,
                   BanditState& state);

// softmax(preferences), the probabilities of kGradient (equation 2.11).
std::vector<double> ArmProbabilities(std::span<const double> preferences);

}  // namespace muster::rl
