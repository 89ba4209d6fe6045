#include "base/philox.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

// Known answers: kat_vectors of the Random123 library, philox4x32-10.
TEST(PhiloxTest, MatchesPublishedVectors) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(Philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, EveryPartOfTheKeyMatters) {
  const PhiloxBlock base = RandomBlock(1, RandomPurpose::kDropout, 2, 3);
  EXPECT_NE(base, RandomBlock(2, RandomPurpose::kDropout, 2, 3));
  EXPECT_NE(base, RandomBlock(1, RandomPurpose::kDataOrder, 2, 3));
  EXPECT_NE(base, RandomBlock(1, RandomPurpose::kDropout, 3, 3));
  EXPECT_NE(base, RandomBlock(1, RandomPurpose::kDropout, 2, 4));
  EXPECT_NE(base, RandomBlock(1, RandomPurpose::kDropout, 2, 3 + (1ULL << 32U)));
  EXPECT_NE(base, RandomBlock(1 + (1ULL << 32U), RandomPurpose::kDropout, 2, 3));
}

TEST(PhiloxTest, DrawsStayInRange) {
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    SCOPED_TRACE(i);
    const PhiloxBlock block = RandomBlock(7, RandomPurpose::kDataOrder, 0, i);
    EXPECT_LT(Below(block[0], block[1], 13), 13U);
    EXPECT_LT(UnitFloat(block[2]), 1.0F);
  }
  EXPECT_EQ(Below(0xffffffff, 0xffffffff, 13), 12U);
  EXPECT_LT(UnitFloat(0xffffffff), 1.0F);
}

}  // namespace
}  // namespace muster
