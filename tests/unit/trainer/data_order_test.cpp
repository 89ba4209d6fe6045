#include "trainer/data/data_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/philox.h"

namespace muster {
namespace {

using testing::ElementsAre;

// Three elements take two draws of the one block (seed 7, epoch 5): worked from its words.
TEST(DataOrderTest, MatchesHandWorkedShuffle) {
  const PhiloxBlock block = RandomBlock(7, RandomPurpose::kDataOrder, 5, 0);
  std::vector<std::uint32_t> expected = {0, 1, 2};
  std::swap(expected[2], expected[block[0] / ((1ULL << 32U) / 3 + 1)]);
  std::swap(expected[1], expected[block[2] >> 31U]);
  std::vector<std::uint32_t> order(3);
  PermuteEpoch(7, 5, order);
  EXPECT_EQ(order, expected);
}

// Property: every (seed, epoch) gives a permutation, and another one than its neighbours.
TEST(DataOrderTest, EpochsAreDifferentPermutations) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    std::vector<std::uint32_t> order(101), next(101), other(101);
    PermuteEpoch(seed, 0, order);
    PermuteEpoch(seed, 1, next);
    PermuteEpoch(seed + 1, 0, other);
    EXPECT_NE(order, next);
    EXPECT_NE(order, other);
    std::sort(order.begin(), order.end());
    for (std::uint32_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], i);
  }
}

// Each element comes to each place equally often: 3000 draws of a permutation of four.
TEST(DataOrderTest, ShufflesEvenly) {
  std::array<std::array<int, 4>, 4> counts{};
  for (std::uint32_t epoch = 0; epoch < 3000; ++epoch) {
    std::vector<std::uint32_t> order(4);
    PermuteEpoch(1, epoch, order);
    for (std::size_t place = 0; place < 4; ++place) ++counts[place][order[place]];
  }
  for (const auto& row : counts) {
    for (const int count : row) EXPECT_NEAR(count, 750, 120);  // Five standard deviations.
  }
}

TEST(DataOrderTest, SplitIsDisjointCompleteAndKeepsItsSeed) {
  const SampleSplit split = SplitSamples(1000, 100, 3);
  EXPECT_EQ(split.validation.size(), 100U);
  std::vector<std::uint32_t> all = split.train;
  all.insert(all.end(), split.validation.begin(), split.validation.end());
  std::sort(all.begin(), all.end());
  for (std::uint32_t i = 0; i < 1000; ++i) EXPECT_EQ(all[i], i);
  EXPECT_EQ(SplitSamples(1000, 100, 3).validation, split.validation);
  EXPECT_NE(SplitSamples(1000, 100, 4).validation, split.validation);
  EXPECT_TRUE(SplitSamples(5, 0, 1).validation.empty());
  EXPECT_THROW(static_cast<void>(SplitSamples(5, 5, 1)), ContractViolation);
}

TEST(DataOrderTest, LanesCutABatchIntoNeighbouringSlices) {
  const std::vector<std::uint32_t> batch = {9, 8, 7, 6, 5, 4};
  const auto slice = LaneSlice(batch, 1, 2);
  EXPECT_THAT(std::vector<std::uint32_t>(slice.begin(), slice.end()), ElementsAre(6, 5, 4));
  EXPECT_THROW(static_cast<void>(LaneSlice(batch, 0, 4)), ContractViolation);
  EXPECT_THROW(static_cast<void>(LaneSlice(batch, 2, 2)), ContractViolation);
}

// Property: an epoch uses each sample at most once and drops only the last partial batch; a jump to
// a step gives what walking there gives.
TEST(DataOrderTest, BatchesWalkAnEpochAndCanStartAnywhere) {
  std::vector<std::uint32_t> train(23);
  std::iota(train.begin(), train.end(), 100U);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    BatchOrder order(train, 5, seed);
    ASSERT_EQ(order.steps_per_epoch(), 4U);
    std::vector<std::uint32_t> seen;
    for (std::uint64_t step = 0; step < 12; ++step) {
      if (step % 4 == 0) seen.clear();
      const auto batch = order.Batch(step);
      const std::vector<std::uint32_t> walked(batch.begin(), batch.end());
      seen.insert(seen.end(), walked.begin(), walked.end());
      BatchOrder jump(train, 5, seed);
      const auto jumped = jump.Batch(step);
      EXPECT_TRUE(std::equal(walked.begin(), walked.end(), jumped.begin(), jumped.end()));
      if (step % 4 != 3) continue;
      std::sort(seen.begin(), seen.end());
      EXPECT_EQ(seen.size(), 20U);
      EXPECT_EQ(std::unique(seen.begin(), seen.end()), seen.end());
      EXPECT_GE(seen.front(), 100U);
      EXPECT_LE(seen.back(), 122U);
    }
  }
}

}  // namespace
}  // namespace muster
