// LaneLoop: carries this rank's lanes through forward and backward passes, side by side, and sums
// over all lanes of the job what they give.
//
// The rank's lanes are cut into blocks that run side by side on the pool's threads; the lanes of a
// block run one after another and share its tapes. With at least two threads a lane, lanes run one
// by one and the ops share the threads instead. Neither changes a bit: shapes belong to lanes, and
// sums across lanes are taken in the fixed tree. With sharded gradients lanes are dealt out in
// waves (LaneWaves) instead of in neighbours, which changes no bit either.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned_vector.h"
#include "base/status.h"
#include "collectives/gradient_reducer.h"
#include "collectives/group.h"
#include "collectives/lane_tree.h"
#include "collectives/shard_layout.h"
#include "collectives/sharded_reducer.h"
#include "nn/parameters.h"
#include "tensor/memory_budget.h"
#include "tensor/thread_pool.h"

namespace muster {

struct LaneLoopOptions {
  std::size_t lanes = 1;
  // What the process may hold; 0 = what the system has. Passes that need more throw OutOfMemory.
  std::size_t memory_bytes = 0;
  // 0: every rank has all gradients; 1: and sees its shard of them; 2: it has its shard alone.
  int zero_stage = 0;
};

class LaneLoop {
 public:
  // What runs on one thread at a time.
  class Block {
   public:
    // In [0, blocks()): which of the caller's own things belong to it.
    std::size_t index() const { return index_; }

   private:
    friend class LaneLoop;
    Block(std::size_t index, const nn::ParameterSet& parameters, ThreadPool* pool,
          MemoryBudget* memory);
    void Bind(std::span<const float> values, std::span<float> gradients);

    std::size_t index_;
    Tape tape_;
    Tape inference_tape_;
    std::vector<LeafBinding> bindings_;
    std::vector<std::size_t> offsets_;    // [parameters]
    std::size_t lane_ = 0;                // The local lane that is running.
    std::vector<std::size_t> remaining_;  // [buckets] parameters that its backward still owes.
  };

  // All references must outlive the loop. Collective. kFailedPrecondition where the memory is used
  // up already, kInvalidArgument where lanes do not fit the ranks.
  static Result<std::unique_ptr<LaneLoop>> Create(Group& group, ThreadPool& pool,
                                                  const nn::ParameterSet& parameters,
                                                  const LaneLoopOptions& options);

  std::size_t lanes() const { return options_.lanes; }
  std::size_t local_lanes() const { return local_lanes_; }
  std::size_t blocks() const { return blocks_.size(); }
  // The job's lane that this rank runs as its `local`-th.
  std::size_t LaneOf(std::size_t local) const { return waves_.LaneOf(group_.rank(), local); }

  // body(block, local lane) for all local lanes: blocks side by side, the lanes of each in
  // ascending order. The first exception is rethrown.
  template <class Body>
  void ForLanes(const Body& body) {
    std::mutex mutex;
    std::exception_ptr failure;
    pool_.ParallelFor(blocks_.size(), [&](std::size_t index) {
      try {
        for (std::size_t turn = 0; turn < local_lanes_ / blocks_.size(); ++turn) {
          body(*blocks_[index], LocalLane(index, turn));
        }
      } catch (...) {
        {
          const std::scoped_lock lock(mutex);
          if (!failure) failure = std::current_exception();
        }
        if (sharded_) sharded_->Abandon();  // Or the other lanes would wait for this one.
      }
    });
    if (failure) std::rethrow_exception(failure);
  }

  // A tape whose backward pass writes the gradient of this lane at `values`, [flat elements of the
  // parameters]. Between two calls of ReducedGradients each lane goes back exactly once, or none.
  Tape& BeginStep(Block& block, std::size_t local_lane, std::span<const float> values);
  // A tape that records nothing.
  Tape& BeginInference(Block& block, std::span<const float> values);

  // After every lane's backward pass: the gradients' sum over all lanes, [trainable elements], the
  // same on every rank; from stage 1 on this rank's shard of them, by the ShardLayout of blocks of
  // nn::kFlatBlock. The caller may change it. Until the next BeginStep. Collective.
  Result<std::span<float>> ReducedGradients();

  // `rows` is [local lanes, width]; its first row becomes the sum over all lanes in the fixed tree.
  // Collective; allocates nothing.
  Status SumLanes(std::span<double> rows, std::size_t width);

 private:
  LaneLoop(Group& group, ThreadPool& pool, const nn::ParameterSet& parameters,
           const LaneLoopOptions& options);
  Status Allocate();
  Status MakeReducer(std::vector<Bucket> buckets);
  Status AgreeOnLanesAtOnce();
  void ConnectTape(Block& block);
  // The `turn`-th local lane that `block` runs.
  std::size_t LocalLane(std::size_t block, std::size_t turn) const;

  Group& group_;
  ThreadPool& pool_;
  const nn::ParameterSet& parameters_;
  const LaneLoopOptions options_;
  const std::size_t local_lanes_;
  std::size_t lanes_at_once_;
  LaneWaves waves_;                     // One, of all local lanes, unless gradients are sharded.
  std::vector<std::size_t> bucket_of_;  // [parameters]; of a frozen one it says nothing.
  std::vector<std::size_t> bucket_parameters_;  // [buckets] how many parameters each has.
  std::optional<MemoryBudget> step_memory_;
  std::vector<std::unique_ptr<Block>> blocks_;  // [lanes_at_once]
  ShardLayout layout_;
  std::unique_ptr<GradientReducer> reducer_;  // This one,
  std::unique_ptr<ShardedReducer> sharded_;   // or this one.
  AlignedVector<float> shard_;                // Of stage 1.
};

}  // namespace muster
