#include "trainer/data/data_order.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/philox.h"

namespace muster {
namespace {

// One draw is 64 bits, so a block serves two. `lane` tells the streams of one purpose apart.
void Shuffle(std::uint64_t seed, RandomPurpose purpose, std::uint32_t lane,
             std::span<std::uint32_t> order) {
  PhiloxBlock block{};
  for (std::size_t draw = 0; draw + 1 < order.size(); ++draw) {
    if (draw % 2 == 0) block = RandomBlock(seed, purpose, lane, draw / 2);
    const std::size_t half = 2 * (draw % 2);
    const std::size_t left = order.size() - draw;
    std::swap(order[left - 1], order[Below(block[half], block[half + 1], left)]);
  }
}

}  // namespace

SampleSplit SplitSamples(std::uint32_t samples, std::uint32_t validation_samples,
                         std::uint64_t seed) {
  MUSTER_CHECK(validation_samples < samples, "a split leaves samples to train on");
  std::vector<std::uint32_t> order(samples);
  std::iota(order.begin(), order.end(), 0U);
  if (validation_samples > 0) Shuffle(seed, RandomPurpose::kDataSplit, 0, order);
  SampleSplit split;
  split.validation.assign(order.begin(), order.begin() + validation_samples);
  split.train.assign(order.begin() + validation_samples, order.end());
  // Ascending order is kinder to the memory; the permutation of each epoch mixes them anyway.
  std::sort(split.validation.begin(), split.validation.end());
  std::sort(split.train.begin(), split.train.end());
  return split;
}

void PermuteEpoch(std::uint64_t seed, std::uint32_t epoch, std::span<std::uint32_t> order) {
  std::iota(order.begin(), order.end(), 0U);
  Shuffle(seed, RandomPurpose::kDataOrder, epoch, order);
}

std::span<const std::uint32_t> LaneSlice(std::span<const std::uint32_t> batch, std::size_t lane,
                                         std::size_t lanes) {
  MUSTER_CHECK(lane < lanes && batch.size() % lanes == 0, "lanes divide the batch");
  const std::size_t count = batch.size() / lanes;
  return batch.subspan(lane * count, count);
}

BatchOrder::BatchOrder(std::span<const std::uint32_t> train, std::size_t batch_size,
                       std::uint64_t seed)
    : train_(train), batch_size_(batch_size), seed_(seed), order_(train.size()) {
  MUSTER_CHECK(batch_size > 0 && batch_size <= train.size(), "an epoch has at least one batch");
}

std::span<const std::uint32_t> BatchOrder::Batch(std::uint64_t step) {
  const std::uint64_t epoch = step / steps_per_epoch();
  if (epoch != epoch_) {
    PermuteEpoch(seed_, static_cast<std::uint32_t>(epoch), order_);
    for (std::uint32_t& position : order_) position = train_[position];
    epoch_ = epoch;
  }
  return std::span(order_).subspan((step % steps_per_epoch()) * batch_size_, batch_size_);
}

}  // namespace muster
