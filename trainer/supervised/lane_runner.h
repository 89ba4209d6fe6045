// LaneRunner: carries this rank's lanes through forward and backward, and through evaluations.
//
// The rank's lanes are cut into blocks that run side by side on the pool's threads; the lanes of a
// block run one after another and share one tape. With at least two threads a lane, lanes run one
// by one and the ops share the threads instead. Neither changes a bit: shapes belong to lanes, and
// sums across lanes are taken in the fixed tree. With sharded gradients lanes are dealt out in
// waves (LaneWaves) instead of in neighbours, which changes no bit either.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "collectives/gradient_reducer.h"
#include "collectives/group.h"
#include "collectives/lane_tree.h"
#include "collectives/shard_layout.h"
#include "collectives/sharded_reducer.h"
#include "nn/models/model.h"
#include "tensor/thread_pool.h"
#include "trainer/data/augmentation.h"
#include "trainer/data/dataset.h"
#include "trainer/data/normalization.h"
#include "trainer/supervised/training_state.h"

namespace muster {

struct LaneRunnerOptions {
  std::size_t lanes = 1;
  std::size_t batch_size = 0;  // Global; a multiple of lanes.
  // What the process may hold; 0 = what the system has. Steps that need more throw OutOfMemory.
  std::size_t memory_bytes = 0;
  // 0: every rank has all gradients; 1: and sees its shard of them; 2: it has its shard alone.
  int zero_stage = 0;
  AugmentOptions augment;  // Of training samples, never of those of an evaluation.
  std::uint64_t seed = 0;  // Of that.
};

class LaneRunner {
 public:
  // All references must outlive the runner. Collective.
  static Result<std::unique_ptr<LaneRunner>> Create(Group& group, ThreadPool& pool,
                                                    const nn::Model& model, const Dataset& train,
                                                    const Normalization& normalization,
                                                    const LaneRunnerOptions& options);
  ~LaneRunner();

  // What a rank tells the others with each step; the step's outcome says what any rank said.
  struct Flags {
    bool stop = false;
    bool save = false;
  };
  struct StepOutcome {
    double loss = 0.0;  // Mean over the global batch, in nats.
    double accuracy = 0.0;
    Flags flags;
    double data_ms = 0.0;  // Of the slowest block, as are the next two.
    double forward_ms = 0.0;
    double backward_ms = 0.0;
    double communication_ms = 0.0;  // What backward did not hide.
  };

  // The gradient of the mean loss over `batch`, samples of the training set [batch_size], at
  // `values`. Collective; afterwards Gradients() is the sum over all lanes. `step`, counted from 0,
  // decides how samples are augmented.
  Result<StepOutcome> Step(std::uint64_t step, std::span<const float> values,
                           std::span<const std::uint32_t> batch, Flags flags);
  // [trainable elements], the same on every rank; from stage 1 on this rank's shard of them, by the
  // ShardLayout of blocks of nn::kFlatBlock. The caller may change it. Until the next Step.
  std::span<float> Gradients() { return gradients_; }

  // The mean loss and the accuracy over `samples` (not empty) of `set`. Batches have a fixed size
  // but for the last; lanes take neighbouring runs of them. Collective; the same on all ranks.
  Result<Evaluation> Evaluate(std::span<const float> values, const Dataset& set,
                              std::span<const std::uint32_t> samples);

 private:
  struct Block;

  LaneRunner(Group& group, ThreadPool& pool, const nn::Model& model, const Dataset& train,
             const Normalization& normalization, const LaneRunnerOptions& options);
  Status Allocate();
  Status MakeReducer(std::vector<Bucket> buckets);
  Status AgreeOnLanesAtOnce();
  void ConnectTape(Block& block);
  std::size_t LaneOf(std::size_t local) const { return waves_.LaneOf(group_.rank(), local); }
  // The `turn`-th local lane that `block` runs.
  std::size_t LocalLane(std::size_t block, std::size_t turn) const;
  template <class Body>
  void ForLanes(const Body& body);
  Result<std::span<float>> ReducedGradients();
  std::span<const ImageMove> DrawMoves(Block& block, std::size_t global_lane);
  void RunLane(Block& block, std::size_t lane, std::span<const float> values,
               std::span<const std::uint32_t> samples);
  void EvaluateLane(Block& block, std::size_t lane, std::span<const float> values,
                    const Dataset& set, std::span<const std::uint32_t> samples);
  Status SumScores(std::size_t width);

  Group& group_;
  ThreadPool& pool_;
  const nn::Model& model_;
  const Dataset& train_;
  const Normalization& normalization_;
  const LaneRunnerOptions options_;
  const std::size_t local_lanes_;
  std::size_t lanes_at_once_;
  LaneWaves waves_;                     // One, of all local lanes, unless gradients are sharded.
  std::vector<std::size_t> bucket_of_;  // [parameters]
  std::vector<std::size_t> bucket_parameters_;  // [buckets] how many parameters each has.
  std::optional<MemoryBudget> step_memory_;
  std::vector<std::unique_ptr<Block>> blocks_;  // [lanes_at_once]
  ShardLayout layout_;
  std::unique_ptr<GradientReducer> reducer_;  // This one,
  std::unique_ptr<ShardedReducer> sharded_;   // or this one.
  std::vector<float> shard_;                  // Of stage 1.
  std::span<float> gradients_;
  std::uint64_t step_ = 0;
  std::vector<double> scores_;  // [local lanes, width]; row 0 ends as the sum over all lanes.
};

}  // namespace muster
