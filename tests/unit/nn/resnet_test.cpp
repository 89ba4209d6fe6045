#include "nn/models/resnet.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/unit/nn/small_task.h"

namespace muster::nn {
namespace {

// Of ResNet-20 on 28x28x1, by hand: a convolution has 9 in out weights, a norm 2 out.
TEST(ResnetTest, HasTheStatedParameters) {
  const auto model = MakeResnet({});
  ASSERT_TRUE(model.ok());
  const std::size_t stem = 9 * 16 + 32;
  const std::size_t first = 3 * (2 * 9 * 16 * 16 + 2 * 32);
  const std::size_t second =
      9 * 16 * 32 + 9 * 32 * 32 + 2 * 64 + (16 * 32 + 64) + 2 * (2 * 9 * 32 * 32 + 2 * 64);
  const std::size_t third =
      9 * 32 * 64 + 9 * 64 * 64 + 2 * 128 + (32 * 64 + 128) + 2 * (2 * 9 * 64 * 64 + 2 * 128);
  const std::size_t head = 10 * 64 + 10;
  EXPECT_EQ(stem + first + second + third + head, 272'186U);
  EXPECT_EQ((*model)->parameters().parameter_elements(), 272'186U);
  // The paper's table 6 says 0.27 M for 20 layers and 1.7 M for 110.
  const auto deep = MakeResnet({.height = 32, .width = 32, .input_channels = 3, .blocks = 18});
  ASSERT_TRUE(deep.ok());
  EXPECT_NEAR(static_cast<double>((*deep)->parameters().parameter_elements()), 1.7e6, 0.05e6);
}

// 6n + 2 layers with weights, and torchvision's names for all that they have.
TEST(ResnetTest, NamesItsParametersAsTorchvisionDoes) {
  const auto model = MakeResnet({.blocks = 2});
  ASSERT_TRUE(model.ok());
  std::set<std::string> names;
  std::size_t layers = 0;
  for (const ParameterSpec& spec : (*model)->parameters().specs()) {
    names.insert(spec.name);
    const bool shortcut = spec.name.find("downsample") != std::string::npos;
    if (spec.decay && !shortcut) ++layers;
  }
  EXPECT_EQ(layers, 14U);
  for (const char* name :
       {"conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer1.1.bn2.bias",
        "layer2.0.downsample.0.weight", "layer2.0.downsample.1.weight",
        "layer2.0.downsample.1.bias", "layer3.1.conv2.weight", "fc.weight", "fc.bias"}) {
    EXPECT_EQ(names.count(name), 1U) << name;
  }
  for (const char* name : {"conv1.bias", "layer1.0.conv1.bias", "layer1.0.downsample.0.weight",
                           "layer2.1.downsample.0.weight", "layer4.0.conv1.weight"}) {
    EXPECT_EQ(names.count(name), 0U) << name;
  }
}

ResnetOptions SmallResnet() {
  return {.height = 13,
          .width = 13,
          .input_channels = 2,
          .blocks = 1,
          .base_channels = 8,
          .norm_groups = 4,
          .outputs = 4};
}

TEST(ResnetTest, LearnsASmallTask) {
  const auto model = MakeResnet(SmallResnet());
  ASSERT_TRUE(model.ok());
  const auto trained = testing::Train<float>(**model, 16, 40, 5e-3F);
  EXPECT_EQ(trained.accuracy, 1.0);
  testing::ExpectGradientsEverywhere((*model)->parameters(), trained.first_gradients);
}

// The reason for group norm.
TEST(ResnetTest, ASamplesLogitsDependOnNoOtherSample) {
  const auto model = MakeResnet(SmallResnet());
  ASSERT_TRUE(model.ok());
  const ParameterSet& set = (*model)->parameters();
  std::vector<float> values(set.flat_elements());
  set.Initialize(3, values);
  const testing::Quarters data(8, (*model)->input_shape());
  const std::size_t image = (*model)->input_shape().elements();
  const auto logits = [&](std::size_t first, std::size_t count) {
    Tape tape({.inference = true});
    tape.Begin(set.Bind(values, {}));
    const Tensor y =
        (*model)->Forward(tape, tape.Input({count, 13, 13, 2}, data.images.data() + first * image));
    return std::vector<float>(y.values().begin(), y.values().end());
  };
  const std::vector<float> together = logits(0, 8);
  for (std::size_t sample = 0; sample < 8; ++sample) {
    const std::vector<float> alone = logits(sample, 1);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(alone[i], together[sample * 4 + i]);
  }
}

TEST(ResnetTest, RefusesWhatCannotWork) {
  const auto refusal = [](auto change) {
    ResnetOptions options = SmallResnet();
    change(options);
    const auto made = MakeResnet(options);
    return made.ok() ? "accepted" : made.status().message();
  };
  EXPECT_EQ(refusal([](ResnetOptions&) {}), "accepted");
  EXPECT_EQ(refusal([](ResnetOptions& o) { o.width = 14; }),
            "resnet: images of 13x14 are not square");
  EXPECT_EQ(refusal([](ResnetOptions& o) { o.norm_groups = 3; }),
            "resnet: norm_groups 3 does not divide base_channels 8");
  EXPECT_EQ(refusal([](ResnetOptions& o) { o.height = o.width = 65; }),
            "resnet: images of 65x65 are still 17x17 after 3 stages, and the most is 16x16; take "
            "more stages");
  EXPECT_EQ(refusal([](ResnetOptions& o) { o.height = o.width = 64; }), "accepted");
  EXPECT_EQ(refusal([](ResnetOptions& o) { o.stages = 9; }), "resnet: stages is 9; take 1 to 8");
  EXPECT_NE(refusal([](ResnetOptions& o) { o.blocks = 0; }), "accepted");
  EXPECT_NE(refusal([](ResnetOptions& o) { o.input_channels = 0; }), "accepted");
}

}  // namespace
}  // namespace muster::nn
