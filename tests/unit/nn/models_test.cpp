#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/philox.h"
#include "nn/models/cnn.h"
#include "nn/models/mlp.h"
#include "nn/optim/optimizer.h"
#include "tensor/kernels/softmax_cross_entropy.h"

namespace muster::nn {
namespace {

CnnOptions SmallCnn() {
  CnnOptions options;
  options.height = options.width = 8;
  options.conv_channels = {8, 16};
  options.hidden = {32};
  options.outputs = 4;
  return options;
}

// Samples whose class is the brightest quarter of the image.
struct Quarters {
  explicit Quarters(std::size_t count) : images(count * 64), labels(count) {
    for (std::size_t n = 0; n < count; ++n) {
      const PhiloxBlock bits = RandomBlock(9, RandomPurpose::kAugmentation, 0, n);
      labels[n] = static_cast<std::int32_t>(bits[0] % 4);
      for (std::size_t i = 0; i < 64; ++i) {
        const auto quarter = static_cast<std::int32_t>(i / 32 * 2 + i % 8 / 4);
        images[n * 64 + i] =
            UnitFloat(RandomBlock(9, RandomPurpose::kAugmentation, 1, n * 64 + i)[0]) +
            (quarter == labels[n] ? 0.5F : 0.0F);
      }
    }
  }
  std::vector<float> images;
  std::vector<std::int32_t> labels;
};

// Accuracy on the training samples after `steps` full-batch steps.
double Train(const Model& model, const Shape& sample, int steps) {
  constexpr std::size_t kCount = 64;
  const Quarters data(kCount);
  const ParameterSet& parameters = model.parameters();
  std::vector<float> values(parameters.flat_elements()), gradients(values.size());
  parameters.Initialize(1, values);
  const auto leaves = parameters.Bind(values, gradients);
  const auto optimizer = MakeOptimizer({}, parameters);
  Shape batch{kCount};
  for (std::size_t i = 0; i < sample.rank(); ++i) batch.Append(sample[i]);
  Tape tape;
  double accuracy = 0.0;
  for (int step = 0; step < steps; ++step) {
    tape.Begin(leaves);
    const Tensor logits = model.Forward(tape, tape.Input(batch, data.images.data()));
    const auto result = ops::SoftmaxCrossEntropy(tape, logits, data.labels, 1.0F / kCount);
    tape.Backward(result.loss);
    optimizer->Step({.learning_rate = 5e-3F}, values, gradients, nullptr);
    accuracy = static_cast<double>(result.score.correct) / kCount;
  }
  return accuracy;
}

TEST(ModelsTest, LearnASmallTask) {
  CnnOptions normed = SmallCnn();
  normed.norm_groups = 4;
  normed.activation = Activation::kGelu;
  for (const CnnOptions& options : {SmallCnn(), normed}) {
    const auto cnn = MakeCnn(options);
    ASSERT_TRUE(cnn.ok());
    EXPECT_GE(Train(**cnn, (*cnn)->input_shape(), 60), 0.95);
  }
  for (const bool norm : {false, true}) {
    const auto mlp = MakeMlp({.inputs = 64, .hidden = {32, 32}, .outputs = 4, .layer_norm = norm});
    ASSERT_TRUE(mlp.ok());
    EXPECT_GE(Train(**mlp, {8, 8, 1}, 60), 0.95);
  }
}

// 1 -> 32 -> 64 channels on 28 x 28, as in the main job.
TEST(ModelsTest, HaveTheStatedParameters) {
  const auto cnn = MakeCnn({});
  ASSERT_TRUE(cnn.ok());
  const ParameterSet& set = (*cnn)->parameters();
  EXPECT_EQ(set.parameter_elements(), 288U + 32 + 18432 + 64 + 3136 * 128 + 128 + 1280 + 10);
  EXPECT_EQ(set[0].name, "conv.0.weight");
  EXPECT_EQ(set[set.size() - 1].name, "head.1.bias");
}

TEST(ModelsTest, GradientsBecomeReadyInTheStatedOrder) {
  const auto cnn = MakeCnn(SmallCnn());
  ASSERT_TRUE(cnn.ok());
  const ParameterSet& set = (*cnn)->parameters();
  std::vector<float> values(set.flat_elements()), gradients(values.size());
  set.Initialize(1, values);
  const Quarters data(2);
  Tape tape;
  std::vector<std::size_t> ready;
  tape.OnGradientReady([&](std::size_t parameter) { ready.push_back(parameter); });
  tape.Begin(set.Bind(values, gradients));
  const Tensor logits = (*cnn)->Forward(tape, tape.Input({2, 8, 8, 1}, data.images.data()));
  tape.Backward(ops::SoftmaxCrossEntropy(tape, logits, data.labels, 0.5F).loss);
  EXPECT_EQ(ready, set.ReadyOrder());
}

// Out of memory says which layers hold it.
TEST(ModelsTest, NameTheirLayersToTheTape) {
  const auto model = MakeMlp({.inputs = 8, .hidden = {256, 128}, .outputs = 4});
  const ParameterSet& set = (*model)->parameters();
  const std::vector<float> values(set.flat_elements()), x(8 * 64);
  std::vector<float> gradients(set.flat_elements());
  MemoryBudget memory(std::size_t{80} << 10U);
  Tape tape({.memory = &memory});
  tape.Begin(set.Bind(values, gradients));
  try {
    (*model)->Forward(tape, tape.Input({64, 8}, x.data()));
    FAIL() << "it fits";
  } catch (const OutOfMemory& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("a tensor [64, 128] of f32 (32.0 KiB) in layers.1: "), std::string::npos)
        << what;
    EXPECT_NE(what.find(", most of it in layers.0 (64."), std::string::npos) << what;
  }
}

TEST(ModelsTest, RefuseWhatCannotWork) {
  const auto refused = [](auto change) {
    CnnOptions options = SmallCnn();
    change(options);
    const auto made = MakeCnn(options);
    return !made.ok() && made.status().code() == StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](CnnOptions& o) { o.kernel = 4; }));
  EXPECT_TRUE(refused([](CnnOptions& o) { o.conv_channels = {}; }));
  EXPECT_TRUE(refused([](CnnOptions& o) { o.conv_channels = {8, 8, 8, 8}; }));
  EXPECT_TRUE(refused([](CnnOptions& o) { o.norm_groups = 3; }));
  EXPECT_TRUE(refused([](CnnOptions& o) { o.hidden = {0}; }));
  EXPECT_TRUE(refused([](CnnOptions& o) { o.pool = 0; }));
  EXPECT_FALSE(MakeMlp({.inputs = 0, .hidden = {}, .outputs = 1}).ok());
  EXPECT_FALSE(MakeMlp({.inputs = 1, .hidden = {0}, .outputs = 1}).ok());
}

}  // namespace
}  // namespace muster::nn
