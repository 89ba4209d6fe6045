#include "nn/models/nature_cnn.h"

#include <gtest/gtest.h>

#include "tests/unit/nn/small_task.h"

namespace muster::nn {
namespace {

TEST(NatureCnnTest, HasTheStatedParameters) {
  const auto model = MakeNatureCnn({.outputs = 6});
  ASSERT_TRUE(model.ok());
  const ParameterSet& set = (*model)->parameters();
  // 84 -> 20 -> 9 -> 7: 7 * 7 * 64 = 3136 features.
  EXPECT_EQ(set.parameter_elements(),
            32U * 256 + 32 + 64 * 512 + 64 + 64 * 576 + 64 + 512 * 3136 + 512 + 6 * 512 + 6);
  EXPECT_EQ(set[0].name, "torso.conv.0.weight");
  EXPECT_EQ(set[6].name, "torso.hidden.weight");
  EXPECT_EQ(set[9].name, "head.bias");
  EXPECT_EQ((*model)->input_shape(), (Shape{84, 84, 4}));
  EXPECT_EQ((*model)->outputs(), 6U);
  for (const ParameterSpec& spec : set.specs()) {
    if (spec.shape.rank() > 1) {
      EXPECT_EQ(spec.initialization, Initialization::kOrthogonal);
      EXPECT_FLOAT_EQ(spec.gain, spec.name == "head.weight" ? 0.01F : std::sqrt(2.0F));
    }
  }
}

NatureCnnOptions SmallNatureCnn() {
  return {.height = 36, .width = 44, .channels = 2, .hidden = 32, .outputs = 4, .output_gain = 1};
}

TEST(NatureCnnTest, LearnsASmallTaskInBothTypes) {
  const auto model = MakeNatureCnn(SmallNatureCnn());
  ASSERT_TRUE(model.ok());
  const auto wide = testing::Train<float>(**model, 16, 30, 1e-3F);
  EXPECT_EQ(wide.accuracy, 1.0);
  testing::ExpectGradientsEverywhere((*model)->parameters(), wide.first_gradients);
  const auto narrow = testing::Train<BFloat16>(**model, 16, 30, 1e-3F);
  EXPECT_EQ(narrow.accuracy, 1.0);
  testing::ExpectGradientsEverywhere((*model)->parameters(), narrow.first_gradients);
}

TEST(NatureCnnTest, RefusesWhatCannotWork) {
  const auto refused = [](auto change) {
    NatureCnnOptions options = SmallNatureCnn();
    change(options);
    const auto made = MakeNatureCnn(options);
    return !made.ok() && made.status().code() == StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](NatureCnnOptions& o) { o.height = 35; }));
  EXPECT_TRUE(refused([](NatureCnnOptions& o) { o.width = 35; }));
  EXPECT_TRUE(refused([](NatureCnnOptions& o) { o.channels = 0; }));
  EXPECT_TRUE(refused([](NatureCnnOptions& o) { o.hidden = 0; }));
  EXPECT_TRUE(refused([](NatureCnnOptions& o) { o.outputs = 0; }));
}

}  // namespace
}  // namespace muster::nn
