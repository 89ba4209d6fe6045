// What a policy's critic says of a lane's rollout, and what the actions were worth by it: what
// every learner begins with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "trainer/lanes/lane_loop.h"
#include "trainer/rl/learner.h"
#include "trainer/rl/policy.h"
#include "trainer/rl/ppo_options.h"
#include "trainer/rl/rollout.h"

namespace muster::rl {

// Of one lane; rows as in Trajectory. Keeps its memory from update to update.
struct Estimates {
  std::vector<float> values, last_values, cut_values, final_values;
  std::vector<std::uint8_t> terminated;  // Time limits too, where they are not bootstrapped.
  std::vector<float> advantages, returns, ratios;
  // Of a policy with memory, [envs + rows]: the memory before row r at r and after it at envs + r,
  // and whether an episode begins at row r.
  std::vector<float> memory;
  std::vector<std::uint8_t> starts;
  std::vector<float> cut_memory;
};

// A lane's sums that Explain reads, once they are of all lanes.
enum EstimateSum : std::size_t {
  kRowCount,
  kReturns,
  kReturnSquares,
  kErrors,  // Returns less values.
  kErrorSquares,
  kAdvantages,
  kAdvantageSquares,
  kValues,
  kEstimateSums
};
void SumEstimates(const Estimates& estimates, std::span<double> sums);
// Writes explained variance and means.
void Explain(std::span<const double> sums, PolicyUpdate& update);

// Puts `advantages` to mean 0 and deviation 1 by the sums over `count` of them.
void NormalizeAdvantages(double sum, double squares, double count, std::span<float> advantages);

template <class From, class T>
void GatherRows(const From& from, std::size_t width, std::span<const std::uint32_t> rows,
                std::vector<T>& to) {
  if (from.empty()) return;
  to.resize(rows.size() * width);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(rows[i] * width), width,
                to.begin() + static_cast<std::ptrdiff_t>(i * width));
  }
}

// Any number of threads at once, each with a lane of its own.
class Estimator {
 public:
  // All references must outlive it.
  Estimator(const PpoOptions& options, const Policy& policy, LaneLoop& loop)
      : options_(options), policy_(policy), loop_(loop) {}

  // By the policy at `values`: the critic's values, and from them advantages and returns as the
  // options say.
  void Estimate(LaneLoop::Block& block, std::span<const float> values, const Trajectory& trajectory,
                Estimates& lane) const;
  // Writes `ratios`: the probability of each action by the policy at `values` by that of the policy
  // that took it. A policy with memory remembers what it did when the lane was estimated.
  void Ratios(LaneLoop::Block& block, std::span<const float> values, const Trajectory& trajectory,
              Estimates& lane) const;

 private:
  void Replay(LaneLoop::Block& block, std::span<const float> values, const Trajectory& trajectory,
              Estimates& lane) const;
  void ValuesOf(LaneLoop::Block& block, std::span<const float> values,
                std::span<const float> features, const Past& past, std::span<float> to) const;
  std::size_t RowsAtOnce(const Trajectory& trajectory) const;
  Past PastOf(const Trajectory& trajectory, const Estimates& lane, std::size_t first,
              std::size_t rows) const;

  const PpoOptions& options_;
  const Policy& policy_;
  LaneLoop& loop_;
};

}  // namespace muster::rl
