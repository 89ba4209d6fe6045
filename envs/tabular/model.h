// TabularModel: a finite Markov decision process, every probability of it known.
// Source: Sutton and Barto, "Reinforcement learning", 2nd edition, section 3.1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

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
      : start(states), states_(states), actions_(actions), outcomes_(states * actions) {}

  std::size_t states() const { return states_; }
  std::size_t actions() const { return actions_; }

  // In the order in which they are drawn; the probabilities of a pair add up to 1.
  std::span<const TabularOutcome> Outcomes(std::size_t state, std::size_t action) const {
    return outcomes_.at(state * actions_ + action);
  }
  void Add(std::size_t state, std::size_t action, const TabularOutcome& outcome) {
    outcomes_.at(state * actions_ + action).push_back(outcome);
  }

  // The probability of each state to be an episode's first.
  std::vector<double> start;

 private:
  std::size_t states_, actions_;
  std::vector<std::vector<TabularOutcome>> outcomes_;
};

}  // namespace muster::envs
