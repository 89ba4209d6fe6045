// ShardedReducer: sums the gradients of all lanes in the fixed tree and leaves each rank the sum of
// its own shard alone, without ever holding a whole gradient.
// Source: Rajbhandari et al., "ZeRO", arXiv:1910.02054, section 5.2 (P_os+g).
//
// Lanes come in waves (lane_tree.h): a wave's lanes, on all ranks, are one subtree of the tree over
// lanes. When the rank's lanes of a wave have completed a bucket, it is summed, handed to one
// communication thread and copied into a stripe (shard_layout.h); a full stripe is
// reduce-scattered, which gives each owner its block of the subtree's sum. Owners add these like a
// binary counter: log2(waves) + 1 partial shards at most. The bits are those of GradientReducer.
//
// A lane writes a bucket into memory that it is lent when backward first needs it; what it lends is
// back as soon as it was copied, so that few buckets exist at a time.
//
//   for each step:
//     for each local lane: backward writes LaneBucket(lane, bucket), then calls
//                          LaneBucketReady(lane, bucket), as it completes buckets
//     Wait(); read Gradients()
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "collectives/gradient_reducer.h"
#include "collectives/group.h"
#include "collectives/shard_layout.h"

namespace muster {

struct ShardedReducerOptions {
  std::size_t lanes = 1;  // Of the whole job: a power of two, at least the group's size.
  std::size_t count = 0;  // Floats of the flat gradient.
  std::size_t block = 1;  // Of the ShardLayout.
  // Neighbours in ascending order, together [0, count); backward completes them roughly in this
  // order, or the memory it is lent grows. The same on all ranks.
  std::vector<Bucket> buckets;
  // Lanes that a rank runs side by side, each on a thread of its own: a power of two, at most the
  // rank's lanes. The same on all ranks. More of them are fewer waves: less traffic and more
  // memory. Never changes the result.
  std::size_t lanes_at_once = 1;
};

class ShardedReducer {
 public:
  // Collective. `group` must outlive the reducer; between the first LaneBucket of a step and the
  // end of Wait the reducer alone calls it. kInvalidArgument for options that do not fit.
  static Result<std::unique_ptr<ShardedReducer>> Create(Group& group,
                                                        const ShardedReducerOptions& options);
  // Ends the communication thread; waits for the call it is in.
  ~ShardedReducer();

  const ShardLayout& layout() const;
  const std::vector<Bucket>& buckets() const;

  // Where local lane `lane` writes its gradient of `bucket`; which lane of the job that is says
  // LaneWaves. The same memory until LaneBucketReady. What is in it is left over: write every
  // element, or zero it first. The first call may wait for the communication thread. A lane begins
  // after the lane lanes_at_once before it has completed all its buckets (checked). Thread-safe.
  std::span<float> LaneBucket(std::size_t lane, std::size_t bucket);

  // The elements are final; the lane no longer touches them. Once per step, lane and bucket, after
  // LaneBucket (checked). Thread-safe.
  void LaneBucketReady(std::size_t lane, std::size_t bucket);

  // A lane of this rank will not complete: whoever waits in LaneBucket, or comes to it later, gets
  // a ContractViolation instead of waiting for it. The reducer is of no more use. Thread-safe.
  void Abandon();

  // After all local lanes completed all buckets (checked): waits for the communication thread. On
  // an error the group is broken and so is the reducer. Starts the next step.
  Status Wait();

  // This rank's shard of the sum over all lanes, from a successful Wait to the next step's first
  // LaneBucket. The caller may write to it.
  std::span<float> Gradients();

  // Of the last step.
  GradientReducer::Times times() const;
  // Floats held now, on this rank: lent to lanes or waiting to be lent, and all else.
  struct Memory {
    std::size_t lanes = 0;
    std::size_t shards = 0;
  };
  Memory memory() const;

 private:
  class Implementation;
  explicit ShardedReducer(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace muster
