// All of a tabular job that outlives a step, and its checkpoint.
//
//   model.safetensors  the tables, by their names in RunArrays, [runs, ...]: q, v, policy, pulls
//   lanes.safetensors  drawn [runs] random numbers, reward_mean [runs], and the environments'
//   states
//                      one after the other, run i's from environment_offsets[i] on
//   trainer.json       recipe, step, environment_steps, evaluation, best, converged
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "collectives/group.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/rl/tabular/learner.h"

namespace muster::rl {

// Means over episodes and runs.
struct TabularEvaluation {
  double reward = 0;             // Return without discount.
  double discounted_reward = 0;  // Return with it.
  double steps = 0;              // Length.
};

struct TabularState {
  std::uint64_t step = 0;               // Steps done.
  std::uint64_t environment_steps = 0;  // Of all runs.
  bool converged = false;
  std::optional<TabularEvaluation> evaluation;  // The latest.
  std::optional<double> best_reward;            // Of all evaluations so far.
  std::uint64_t best_step = 0;
  std::vector<RunState> runs;  // All of them, or those of a rank.
};

// Brings the runs of all ranks together, in their order, on each of them. Collective.
Result<std::vector<RunState>> GatherRuns(Group& group, std::span<const RunState> own);

// The state as arrays that lie one run after the other; `contents` views them.
class TabularCheckpoint {
 public:
  // `state` has all runs.
  TabularCheckpoint(const TabularState& state, const RunArrays& arrays,
                    const TabularOptions& options);
  CheckpointContents& contents() { return contents_; }

 private:
  std::vector<double> values_, reward_means_;
  std::vector<std::int64_t> choices_, drawn_, offsets_;
  std::vector<std::uint8_t> environments_;
  CheckpointContents contents_;
};

// The state of a checkpoint. kFailedPrecondition when its recipe is another one, naming what
// differs; kDataLoss when something is missing or of another shape.
Result<TabularState> ReadTabularState(const CheckpointContents& contents, const RunArrays& arrays,
                                      const TabularOptions& options);

}  // namespace muster::rl
