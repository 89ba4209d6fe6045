#include "nn/models/impala_cnn.h"

#include <gtest/gtest.h>

#include "tests/unit/nn/small_task.h"

namespace muster::nn {
namespace {

TEST(ImpalaCnnTest, HasTheStatedParameters) {
  const auto model = MakeImpalaCnn({.height = 64, .width = 64, .channels = 3, .outputs = 15});
  ASSERT_TRUE(model.ok());
  const ParameterSet& set = (*model)->parameters();
  // 64 -> 32 -> 16 -> 8: 8 * 8 * 32 = 2048 features. A 3x3 convolution has 9 in out + out.
  const auto convolution = [](std::size_t in, std::size_t out) { return 9 * in * out + out; };
  EXPECT_EQ(set.parameter_elements(), convolution(3, 16) + 4 * convolution(16, 16) +
                                          convolution(16, 32) + 4 * convolution(32, 32) +
                                          convolution(32, 32) + 4 * convolution(32, 32) +
                                          2048 * 256 + 256 + 15 * 256 + 15);
  EXPECT_EQ(set[0].name, "torso.0.conv.weight");
  EXPECT_EQ(set[2].name, "torso.0.block.0.conv.0.weight");
  EXPECT_EQ(set[28].name, "torso.2.block.1.conv.1.weight");
  EXPECT_EQ(set[30].name, "torso.hidden.weight");
  EXPECT_EQ((*model)->outputs(), 15U);
}

// 84 -> 42 -> 21 -> 11, as Atari's images shrink.
TEST(ImpalaCnnTest, OddSizesAreRoundedUpByThePadding) {
  const auto model = MakeImpalaCnn({.outputs = 1});
  ASSERT_TRUE(model.ok());
  EXPECT_EQ((*model)->parameters()[30].shape, (Shape{256, 11 * 11 * 32}));
}

ImpalaCnnOptions SmallImpalaCnn() {
  return {.height = 13,
          .width = 16,
          .channels = 2,
          .stacks = {8, 16},
          .blocks = 2,
          .hidden = 32,
          .outputs = 4,
          .output_gain = 1};
}

TEST(ImpalaCnnTest, LearnsASmallTaskInBothTypes) {
  const auto model = MakeImpalaCnn(SmallImpalaCnn());
  ASSERT_TRUE(model.ok());
  const auto wide = testing::Train<float>(**model, 16, 30, 2e-3F);
  EXPECT_EQ(wide.accuracy, 1.0);
  testing::ExpectGradientsEverywhere((*model)->parameters(), wide.first_gradients);
  const auto narrow = testing::Train<BFloat16>(**model, 16, 30, 2e-3F);
  EXPECT_EQ(narrow.accuracy, 1.0);
  testing::ExpectGradientsEverywhere((*model)->parameters(), narrow.first_gradients);
}

// The residual branches together add about as much to the signal as there was.
TEST(ImpalaCnnTest, TheSignalKeepsItsScaleThroughManyBlocks) {
  const auto spread_of = [](std::size_t blocks) {
    ImpalaCnnOptions options = SmallImpalaCnn();
    options.blocks = blocks;
    const auto model = MakeImpalaCnn(options);
    const testing::Quarters data(8, (*model)->input_shape());
    const ParameterSet& set = (*model)->parameters();
    std::vector<float> values(set.flat_elements());
    set.Initialize(1, values);
    Tape tape({.inference = true});
    tape.Begin(set.Bind(values, {}));
    const Tensor y = (*model)->Forward(tape, tape.Input({8, 13, 16, 2}, data.images.data()));
    double squares = 0.0;
    for (const float value : y.values()) {
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    return std::sqrt(squares / static_cast<double>(y.elements()));
  };
  const double few = spread_of(1), many = spread_of(12);
  EXPECT_LT(many, 3 * few);
  EXPECT_GT(many, few / 3);
}

TEST(ImpalaCnnTest, RefusesWhatCannotWork) {
  const auto refused = [](auto change) {
    ImpalaCnnOptions options = SmallImpalaCnn();
    change(options);
    const auto made = MakeImpalaCnn(options);
    return !made.ok() && made.status().code() == StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](ImpalaCnnOptions& o) { o.height = 0; }));
  EXPECT_TRUE(refused([](ImpalaCnnOptions& o) { o.stacks = {}; }));
  EXPECT_TRUE(refused([](ImpalaCnnOptions& o) { o.stacks = {8, 0}; }));
  EXPECT_TRUE(refused([](ImpalaCnnOptions& o) { o.blocks = 0; }));
  EXPECT_TRUE(refused([](ImpalaCnnOptions& o) { o.outputs = 0; }));
}

}  // namespace
}  // namespace muster::nn
