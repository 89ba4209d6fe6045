// TabularLearner: one run of a tabular job; all of them look alike to the trainer.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "trainer/rl/tabular/tabular_options.h"

namespace muster::rl {

// All of a run that outlives a step.
struct RunState {
  std::vector<double> values;         // As ValuesShape says.
  std::vector<std::int64_t> choices;  // As ChoicesShape says; empty where there are none.
  double reward_mean = 0;             // Bandits: of all pulls.
  std::uint64_t drawn = 0;            // Random numbers.
  bool converged = false;             // Nothing is left to learn.
  std::string environment;            // Empty where none is played.
};

// How a run's state is called in a checkpoint, and its shape within a run.
struct RunArrays {
  std::string values;  // "q" [states, actions], "v" [states], ...
  std::vector<std::uint64_t> values_shape;
  std::string choices;  // "policy" [states], "pulls" [arms], or none.
  std::vector<std::uint64_t> choices_shape;
};

// One thread at a time.
class TabularLearner {
 public:
  virtual ~TabularLearner() = default;

  // Does step `step`, counted from 0, and writes what MeasuredNames names.
  virtual Status Step(std::uint64_t step, std::span<double> measured) = 0;
  // The action for each state; what evaluations play. Empty for bandits, which have no states.
  virtual std::vector<std::size_t> Policy() const = 0;
  virtual RunArrays Arrays() const = 0;
  virtual Result<RunState> Save() const = 0;
  // kDataLoss where the state is not one of such a learner.
  virtual Status Load(const RunState& state) = 0;
  virtual bool converged() const { return false; }
};

// What a step of each run measures; a row of metrics has the means over runs. The first two of what
// plays episodes are their sums over the step.
std::span<const std::string_view> MeasuredNames(TabularAlgorithm algorithm);

// Of a job whose plan is sound.
Result<std::unique_ptr<TabularLearner>> MakeTabularLearner(const TabularOptions& options,
                                                           std::uint32_t run);

}  // namespace muster::rl
