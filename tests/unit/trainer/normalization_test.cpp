#include "trainer/data/normalization.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace muster {
namespace {

using testing::ElementsAre;
using testing::FloatEq;
using testing::HasSubstr;

// Two samples of two channels of 1 x 2.
class NormalizationTest : public testing::Test {
 protected:
  NormalizationTest() {
    bytes_.samples = floats_.samples = 2;
    bytes_.shape = floats_.shape = {2, 1, 2};
    bytes_.labels = floats_.labels = {4, 5};
    bytes_.u8 = kBytes;
    floats_.f32 = kFloats;
  }

  std::vector<float> Images(const Dataset& set, const NormalizationOptions& options,
                            std::vector<std::uint32_t> train = {0, 1}) {
    const auto normalization = Normalization::Create(options, set, train);
    std::vector<float> images(8);
    const std::vector<std::uint32_t> samples = {1, 0};
    normalization->Gather(set, samples, images, labels_);
    return images;
  }

  static constexpr std::uint8_t kBytes[8] = {0, 255, 51, 102, 153, 204, 255, 0};
  static constexpr float kFloats[8] = {1, 2, 3, 4, 5, 2, 7, 0};
  Dataset bytes_, floats_;
  std::vector<std::int32_t> labels_ = std::vector<std::int32_t>(2);
};

TEST_F(NormalizationTest, BytesBecomeZeroToOneWithChannelsInnermost) {
  EXPECT_THAT(Images(bytes_, {}), ElementsAre(0.6F, 1.0F, 0.8F, 0.0F, 0.0F, 0.2F, 1.0F, 0.4F));
  EXPECT_THAT(labels_, ElementsAre(5, 4));
}

TEST_F(NormalizationTest, GivenNumbersArePerChannelOrForAll) {
  const auto images = Images(bytes_, {false, {0.5, 0.0}, {2.0}});
  EXPECT_FLOAT_EQ(images[0], (0.6F - 0.5F) / 2.0F);
  EXPECT_FLOAT_EQ(images[1], 0.5F);
}

// Channel 0 of sample 0 is {0, 1}: mean 1/2, deviation 1/2.
TEST_F(NormalizationTest, TrainingSamplesAloneGiveTheMoments) {
  const auto images = Images(bytes_, {true, {}, {}}, {0});
  EXPECT_FLOAT_EQ(images[4], -1.0F);
  EXPECT_FLOAT_EQ(images[6], 1.0F);
}

// Features are {1, 5}, {2, 2}, {3, 7}, {4, 0}; the second never varies and is only centred.
TEST_F(NormalizationTest, FloatsAreStandardisedPerFeature) {
  EXPECT_THAT(Images(floats_, {true, {}, {}}), ElementsAre(1, 1, 0, -1, -1, -1, 0, 1));
  EXPECT_THAT(Images(floats_, {}), ElementsAre(5, 7, 2, 0, 1, 3, 2, 4));
}

TEST_F(NormalizationTest, RefusesNumbersThatDoNotFit) {
  const auto refusal = [this](const NormalizationOptions& options) {
    return Normalization::Create(options, bytes_, {}).status().message();
  };
  EXPECT_THAT(refusal({false, {0, 0, 0}, {}}),
              HasSubstr("3 means and 0 deviations for 2 channels"));
  EXPECT_THAT(refusal({false, {}, {0.0}}), HasSubstr("deviations positive"));
  EXPECT_THAT(refusal({false, {NAN}, {}}), HasSubstr("means must be finite"));
  EXPECT_THAT(refusal({true, {0.5}, {}}), HasSubstr("not both"));
}

}  // namespace
}  // namespace muster
