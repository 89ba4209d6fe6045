// GradientReducer: sums the gradients of all lanes in the fixed tree, while backward goes on.
//
// Parameters are one flat array of `count` floats, cut into buckets in the order in which backward
// completes them. When all lanes of this rank have completed a bucket it is summed in the tree's
// order and handed to one communication thread, which all-reduces bucket after bucket (the same
// order on every rank) through the group. The result has the same bits on any number of ranks,
// threads, any transport and any interleaving. Kin: PyTorch DDP's Reducer (Li et al., VLDB 2020,
// section 3.2), with a fixed order of sums.
//
//   for each step:
//     for each local lane: gradients = LaneGradients(lane); backward writes them and calls
//                          LaneBucketReady(lane, bucket) as buckets are completed
//     Wait(); read Gradients()
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "collectives/group.h"

namespace muster {

// Elements [begin, end) of the flat gradient.
struct Bucket {
  std::size_t begin = 0;
  std::size_t end = 0;
};

struct GradientReducerOptions {
  std::size_t lanes = 1;  // Of the whole job: a power of two, at least the group's size.
  std::size_t count = 0;  // Floats of the flat gradient.
  // Disjoint, together all of [0, count), in the order in which backward completes them. The same
  // on all ranks.
  std::vector<Bucket> buckets;
  // How many of this rank's lanes run side by side: a power of two, at most the rank's lanes. The
  // rank's lanes are cut into that many blocks of neighbours; blocks may run at the same time, the
  // lanes of one block run one after another in ascending order. Memory: lanes_at_once *
  // (log2(lanes of a block) + 1) gradients. Never changes the result.
  std::size_t lanes_at_once = 1;
};

class GradientReducer {
 public:
  // Collective. `group` must outlive the reducer; between the first LaneBucketReady of a step and
  // the end of Wait the reducer alone calls it. kInvalidArgument for options that do not fit.
  static Result<std::unique_ptr<GradientReducer>> Create(Group& group,
                                                         const GradientReducerOptions& options);
  // Ends the communication thread; waits for the all-reduce it is in.
  ~GradientReducer();

  std::size_t local_lanes() const;
  const std::vector<Bucket>& buckets() const;

  // Where local lane `lane`, in [0, local_lanes()), writes its gradient [count]. What is in it is
  // left over from earlier use: write every element, or zero it first. Ask at each step, before the
  // lane's backward and after the previous lane of its block has completed all its buckets
  // (checked).
  std::span<float> LaneGradients(std::size_t lane);

  // The elements of `bucket` in LaneGradients(lane) are final; the lane no longer touches them.
  // Once per step, lane and bucket (checked). Thread-safe.
  void LaneBucketReady(std::size_t lane, std::size_t bucket);

  // After all local lanes completed all buckets (checked): waits for the communication thread. On
  // an error the group is broken and so is the reducer. Starts the next step.
  Status Wait();

  // The sum over all lanes [count], from a successful Wait to the next step's first LaneGradients.
  // The caller may write to it (clipping, scaling).
  std::span<float> Gradients();

  // Seconds of the last step: spent in all-reduces, and of them spent in Wait, not hidden by
  // backward.
  struct Times {
    double communication_s = 0;
    double exposed_s = 0;
  };
  Times times() const;

 private:
  class Implementation;
  explicit GradientReducer(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

// Cuts `count` elements into buckets of about `bucket_bytes`, from the last element to the first:
// backward completes the last layers first. `boundaries` are the ascending offsets at which a
// parameter starts (the first is 0); a parameter is never split.
std::vector<Bucket> BucketsFromTheEnd(std::span<const std::size_t> boundaries, std::size_t count,
                                      std::size_t bucket_bytes);

}  // namespace muster
