// Which samples are used when: the split into training and validation samples, each epoch's
// permutation, and what each lane takes of a global batch. Functions of the seed alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace muster {

// Indices of a data set's samples, ascending; disjoint, and together all of them.
struct SampleSplit {
  std::vector<std::uint32_t> train;
  std::vector<std::uint32_t> validation;
};

// Draws `validation_samples` < `samples` of the samples without replacement. O(samples).
SampleSplit SplitSamples(std::uint32_t samples, std::uint32_t validation_samples,
                         std::uint64_t seed);

// Fisher-Yates: order = the permutation of [0, order.size()) that (seed, epoch) has.
// Source: Knuth, "The art of computer programming", volume 2, algorithm 3.4.2P.
void PermuteEpoch(std::uint64_t seed, std::uint32_t epoch, std::span<std::uint32_t> order);

// The lane's slice of a global batch: positions [lane * batch / lanes, (lane + 1) * batch / lanes).
// `lanes` divides the batch's size.
std::span<const std::uint32_t> LaneSlice(std::span<const std::uint32_t> batch, std::size_t lane,
                                         std::size_t lanes);

// Walks training steps: batch k of an epoch is the k-th run of `batch_size` samples of its
// permutation; the last, partial run is dropped. Not thread-safe.
class BatchOrder {
 public:
  // `train` are the samples to draw from; the span must stay. 0 < batch_size <= train.size().
  BatchOrder(std::span<const std::uint32_t> train, std::size_t batch_size, std::uint64_t seed);

  std::size_t steps_per_epoch() const { return train_.size() / batch_size_; }

  // The samples of global step `step`, counted from 0, [batch_size]; valid until the next call.
  // A new epoch costs O(train), a jump to any step no more. No allocation.
  std::span<const std::uint32_t> Batch(std::uint64_t step);

 private:
  std::span<const std::uint32_t> train_;
  std::size_t batch_size_;
  std::uint64_t seed_;
  std::uint64_t epoch_ = UINT64_MAX;  // Whose permutation `order_` holds.
  std::vector<std::uint32_t> order_;  // [train]
};

}  // namespace muster
