// TabularModel: a finite Markov decision process, every probability of it known.
// Source: Sutton and Barto, "Reinforcement learning", 2nd edition, section 3.1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"

namespace muster::envs {

// One of the things that may come of an action in a state.
struct TabularOutcome {
  double probability = 0;
  std::int32_t next = 0;
  double reward = 0;
  bool terminated = false;
};

class TabularModel {
 public:
  TabularModel(std::size_t states, std::size_t actions)
      : start(states), states_(states), actions_(actions) {}

  std::size_t states() const { return states_; }
  std::size_t actions() const { return actions_; }

  // In the order in which they are drawn; the probabilities of a pair add up to 1.
  std::span<const TabularOutcome> Outcomes(std::size_t state, std::size_t action) const {
    const std::size_t pair = state * actions_ + action;
    MUSTER_CHECK(pair < first_.size(), "a state or an action that the model has not");
    const std::size_t end = pair + 1 < first_.size() ? first_[pair + 1] : outcomes_.size();
    return std::span(outcomes_).subspan(first_[pair], end - first_[pair]);
  }
  // Pairs must come in order: all outcomes of (0, 0), then of (0, 1), ...
  void Add(std::size_t state, std::size_t action, const TabularOutcome& outcome) {
    const std::size_t pair = state * actions_ + action;
    MUSTER_CHECK(state < states_ && action < actions_ && pair + 1 >= first_.size(),
                 "outcomes are added in order of state and action");
    while (first_.size() <= pair) first_.push_back(outcomes_.size());
    outcomes_.push_back(outcome);
  }

  // The probability of each state to be an episode's first.
  std::vector<double> start;

 private:
  std::size_t states_, actions_;
  std::vector<std::size_t> first_;  // Where each pair's outcomes begin.
  std::vector<TabularOutcome> outcomes_;
};

}  // namespace muster::envs
