// ActionValues: Q(s, a) as a table, and the choices that are made by it.
// Source: Sutton and Barto, "Reinforcement learning", 2nd edition, sections 2.2 and 5.4.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/philox.h"

namespace muster::rl {

// The random numbers of one run: the n-th depends on the job's seed, the run and n alone.
class RunRandom {
 public:
  RunRandom(std::uint64_t seed, std::uint32_t run, std::uint64_t drawn = 0)
      : seed_(seed), run_(run), drawn_(drawn) {}

  // [0, 1), 53 bits.
  double Uniform();
  // 0 .. bound - 1; bound > 0.
  std::size_t Below(std::size_t bound);
  std::uint64_t drawn() const { return drawn_; }

 private:
  std::uint64_t seed_;
  std::uint32_t run_;
  std::uint64_t drawn_;
};

// [states, actions], row-major.
class ActionValues {
 public:
  ActionValues(std::size_t states, std::size_t actions, double initial = 0)
      : actions_(actions), values_(states * actions, initial) {}

  std::span<double> operator[](std::size_t state) {
    return std::span(values_).subspan(state * actions_, actions_);
  }
  std::span<const double> operator[](std::size_t state) const {
    return std::span(values_).subspan(state * actions_, actions_);
  }
  std::size_t states() const { return values_.size() / actions_; }
  std::size_t actions() const { return actions_; }
  std::vector<double>& values() { return values_; }
  const std::vector<double>& values() const { return values_; }

 private:
  std::size_t actions_;
  std::vector<double> values_;
};

// The first of the best actions: for playing, so that a policy is one.
std::size_t BestAction(std::span<const double> values);
// BestAction in every state.
std::vector<std::size_t> GreedyPolicy(const ActionValues& q);

// Any of the best actions, for learning: a table that begins with equal values would otherwise
// try its first action only. Draws where there are several.
std::size_t GreedyAction(std::span<const double> values, RunRandom& random);
// With probability `epsilon` any action, otherwise the greedy one.
std::size_t EpsilonGreedyAction(std::span<const double> values, double epsilon, RunRandom& random);
// The mean of `values` under EpsilonGreedyAction.
double EpsilonGreedyMean(std::span<const double> values, double epsilon);

}  // namespace muster::rl
