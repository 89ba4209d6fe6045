#include "base/aligned_vector.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <numeric>

namespace muster {
namespace {

TEST(AlignedVectorTest, BeginsOnACacheLineAndHoldsWhatItIsGiven) {
  for (const std::size_t count : {1, 7, 1000, 524'287, 524'288, 600'001}) {
    AlignedVector<float> values(count);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(values.data()) % kArrayAlignmentBytes, 0U) << count;
    EXPECT_EQ(std::accumulate(values.begin(), values.end(), 0.0), 0.0) << count;
    values.back() = 3;
    values.resize(2 * count, 1);
    EXPECT_EQ(std::accumulate(values.begin(), values.end(), 0.0), 3.0 + static_cast<double>(count));
  }
}

TEST(AlignedVectorTest, SaysWhenThereIsNoMemory) {
  EXPECT_EQ(AllocateArray(std::numeric_limits<std::size_t>::max() / 4), nullptr);
  AlignedVector<double> values;
  EXPECT_THROW(values.reserve(std::numeric_limits<std::size_t>::max() / 2), std::length_error);
  EXPECT_THROW(values.reserve(values.max_size()), std::bad_alloc);
}

}  // namespace
}  // namespace muster
