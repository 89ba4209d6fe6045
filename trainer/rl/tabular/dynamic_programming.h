// Policies from an exact model, without playing.
// Source: Sutton and Barto, "Reinforcement learning", 2nd edition, chapter 4.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/status.h"
#include "envs/tabular/model.h"

namespace muster::rl {

// What `action` is worth in `state` when `values` [states] is right about what follows:
// sum over outcomes of p [r + gamma V(s')], V = 0 behind a terminated one.
double ActionValue(const envs::TabularModel& model, std::span<const double> values, double discount,
                   std::size_t state, std::size_t action);

// The first best action of each state, to within kTie. Exact arithmetic has ties that rounding
// breaks, another way in every build.
inline constexpr double kTie = 1e-10;
std::vector<std::size_t> GreedyPolicy(const envs::TabularModel& model,
                                      std::span<const double> values, double discount);

// The mean value of an episode's first state.
double StartValue(const envs::TabularModel& model, std::span<const double> values);

// value_iteration.cpp, section 4.4: V(s) <- max_a ActionValue(s, a) in each state, in place.
// Returns the largest change. Repeated until it is small, V is that of the best policy, to within
// change * gamma / (1 - gamma).
double ValueIterationSweep(const envs::TabularModel& model, double discount,
                           std::span<double> values);

// policy_iteration.cpp, section 4.3. The values of `policy` [states]: the solution of
// V = r + gamma P V, by elimination, O(states^3). kInvalidArgument where there is none, which takes
// discount = 1 and a policy that never ends.
Result<std::vector<double>> PolicyValues(const envs::TabularModel& model,
                                         std::span<const std::size_t> policy, double discount);
// Makes `policy` greedy by `values`, keeping actions that are as good as any to within kTie.
// Returns how many states changed; 0 = the policy is the best one.
std::size_t ImprovePolicy(const envs::TabularModel& model, std::span<const double> values,
                          double discount, std::span<std::size_t> policy);

}  // namespace muster::rl
