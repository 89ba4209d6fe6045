#include "trainer/data/augmentation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "trainer/data/normalization.h"

namespace muster {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

// One channel of 2 x 3:
//   1 2 3
//   4 5 6
constexpr std::uint8_t kImage[6] = {1, 2, 3, 4, 5, 6};
constexpr FeatureShape kShape{1, 2, 3};

std::vector<int> Moved(const ImageMove& move) {
  const std::uint8_t* const moved = MovedPlane(kImage, kShape, move);
  return {moved, moved + 6};
}

TEST(AugmentationTest, MatchesHandWorkedImages) {
  EXPECT_THAT(Moved({0, 0, false}), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(Moved({0, 0, true}), ElementsAre(3, 2, 1, 6, 5, 4));
  EXPECT_THAT(Moved({1, 0, false}), ElementsAre(0, 0, 0, 1, 2, 3));
  EXPECT_THAT(Moved({-1, 2, false}), ElementsAre(0, 0, 4, 0, 0, 0));
  EXPECT_THAT(Moved({0, -1, true}), ElementsAre(2, 1, 0, 5, 4, 0));  // Flipped first.
  EXPECT_THAT(Moved({2, 0, false}), Each(0));
}

// What comes in is black, which is no zero any more once it is normalised.
TEST(AugmentationTest, MovesBeforeItNormalises) {
  Dataset set;
  set.samples = 1;
  set.shape = kShape;
  set.labels = {7};
  set.u8 = kImage;
  NormalizationOptions options;
  options.mean = {0.5};
  options.deviation = {0.25};
  const auto normalization = Normalization::Create(options, set, {});
  std::vector<float> images(6);
  std::vector<std::int32_t> labels(1);
  const std::vector<std::uint32_t> samples = {0};
  const std::vector<ImageMove> moves = {{1, 0, true}};
  normalization->Gather(set, samples, images, labels, moves);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_FLOAT_EQ(images[i], -2.0F);
  EXPECT_FLOAT_EQ(images[3], (3.0F / 255 - 0.5F) / 0.25F);
  EXPECT_EQ(labels[0], 7);
}

// Every shift and both sides, each about as often as it should be.
TEST(AugmentationTest, DrawsAllMovesEvenly) {
  constexpr int kDraws = 25'000;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    SCOPED_TRACE(seed);
    std::map<std::pair<std::ptrdiff_t, std::ptrdiff_t>, int> shifts;
    int flips = 0;
    for (int i = 0; i < kDraws; ++i) {
      const ImageMove move = DrawMove({2, true}, seed, 3, static_cast<std::uint64_t>(i));
      ++shifts[{move.down, move.right}];
      flips += move.flip ? 1 : 0;
    }
    EXPECT_EQ(shifts.size(), 25U);
    EXPECT_EQ(shifts.begin()->first.first, -2);
    EXPECT_EQ(shifts.rbegin()->first.second, 2);
    // Six standard deviations about 1000 and 12500.
    for (const auto& [shift, count] : shifts) EXPECT_NEAR(count, kDraws / 25, 186);
    EXPECT_NEAR(flips, kDraws / 2, 475);
  }
}

TEST(AugmentationTest, DrawsOnlyWhatIsAskedFor) {
  for (std::uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(DrawMove({}, 1, 0, i), ImageMove());
    EXPECT_FALSE(DrawMove({3, false}, 1, 0, i).flip);
    const ImageMove flipped = DrawMove({0, true}, 1, 0, i);
    EXPECT_EQ(flipped, (ImageMove{0, 0, flipped.flip}));
  }
}

TEST(AugmentationTest, SeedLaneAndSampleEachMakeAnotherStream) {
  const auto stream = [](std::uint64_t seed, std::uint32_t lane, std::uint64_t first) {
    std::vector<std::ptrdiff_t> drawn;
    for (std::uint64_t i = first; i < first + 20; ++i) {
      const ImageMove move = DrawMove({4, true}, seed, lane, i);
      drawn.insert(drawn.end(), {move.down, move.right, move.flip ? 1 : 0});
    }
    return drawn;
  };
  EXPECT_EQ(stream(1, 2, 3), stream(1, 2, 3));
  EXPECT_EQ((std::set{stream(1, 2, 0), stream(2, 2, 0), stream(1, 3, 0), stream(1, 2, 20)}.size()),
            4U);
}

TEST(AugmentationTest, RefusesWhatLeavesNoImage) {
  const auto refusal = [](const AugmentOptions& options, const FeatureShape& shape) {
    const Status status = ValidateAugment(options, shape);
    return status.ok() ? "accepted" : status.message();
  };
  EXPECT_EQ(refusal({27, true}, {1, 28, 28}), "accepted");
  EXPECT_THAT(refusal({28, false}, {1, 28, 32}), HasSubstr("the most for them is 27"));
  EXPECT_THAT(refusal({0, true}, {1, 1, 30}), HasSubstr("needs images"));
  EXPECT_EQ(refusal({0, false}, {1, 1, 30}), "accepted");
}

}  // namespace
}  // namespace muster
