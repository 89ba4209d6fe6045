#include "nn/layers/lora.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/check.h"
#include "nn/layers/linear.h"
#include "nn/optim/optimizer.h"
#include "tensor/kernels/elementwise.h"

namespace muster::nn {
namespace {

struct Wrapped {
  Wrapped() : base(parameters, "layer", {.in = 6, .out = 5}), lora(parameters, 0, 1, {.rank = 2}) {
    values.resize(parameters.flat_elements());
    gradients.resize(parameters.trainable_elements());
    parameters.Initialize(3, values);
  }

  std::vector<float> Run(bool with_correction) {
    Tape tape({.inference = true});
    tape.Begin(parameters.Bind(values, {}));
    const Tensor in = tape.Input({3, 6}, x.data());
    const Tensor y = with_correction ? lora.Forward(tape, in) : base.Forward(tape, in);
    return {y.values().begin(), y.values().end()};
  }

  ParameterSet parameters;
  Linear base;
  LoraLinear lora;
  std::vector<float> values, gradients;
  const std::vector<float> x = {1, -2, 3, 0.5F, 0, 1, -1, 2, 0.25F, -3, 1, 1, 2, -1, 0, 0.5F, 1, 1};
};

TEST(LoraTest, StartsFromTheWrappedLayer) {
  Wrapped w;
  EXPECT_EQ(w.Run(true), w.Run(false));
  EXPECT_TRUE(w.parameters[0].frozen && w.parameters[1].frozen);
  EXPECT_EQ(w.parameters[2].name, "layer.lora_A.weight");
  EXPECT_EQ(w.parameters[3].name, "layer.lora_B.weight");
  // 2 x 6 and 5 x 2 numbers, each rounded up to a cache line: nothing of the base.
  EXPECT_EQ(w.parameters.trainable_elements(), 32U);
  float largest = 0;
  for (std::size_t i = 0; i < 12; ++i) {
    largest = std::max(largest, std::abs(w.values[w.parameters[2].offset + i]));
  }
  EXPECT_GT(largest, 0.2F);
  EXPECT_LE(largest, 1 / std::sqrt(6.0F));
}

// Trains towards a target that the base does not give: the loss falls, the base stays.
TEST(LoraTest, TrainsTheCorrectionAlone) {
  Wrapped w;
  const auto optimizer = MakeOptimizer({.kind = OptimizerKind::kAdam}, w.parameters);
  EXPECT_EQ(optimizer->State()[0].values.size(), 32U);
  const std::vector<float> before(w.values.begin() + 32, w.values.end());
  const std::vector<float> target(15, -1.0F);
  Tape tape;
  std::vector<float> losses;
  for (int step = 0; step < 200; ++step) {
    tape.Begin(w.parameters.Bind(w.values, w.gradients));
    const Tensor y = w.lora.Forward(tape, tape.Input({3, 6}, w.x.data()));
    const Tensor off = ops::Add(tape, y, tape.Input({3, 5}, target.data()));
    const Tensor loss = ops::Mean(tape, ops::Multiply(tape, off, off));
    losses.push_back(*loss.data());
    tape.Backward(loss);
    optimizer->Step({.learning_rate = 0.02F}, std::span(w.values).first(32), w.gradients, nullptr);
  }
  EXPECT_LT(losses.back(), 0.5F * losses.front());
  EXPECT_EQ(std::vector<float>(w.values.begin() + 32, w.values.end()), before);
}

// W = 0, A = (1, 2 | 0, 1), B = (1, 1), alpha / rank = 3: W becomes 3 (1, 3).
TEST(LoraTest, MergesIntoTheWeight) {
  ParameterSet parameters;
  const std::size_t weight = parameters.Add({.name = "w.weight", .shape = {1, 2}});
  const LoraLinear lora(parameters, weight, {}, {.rank = 2, .alpha = 6});
  std::vector<float> values(parameters.flat_elements());
  const std::vector<float> a = {1, 2, 0, 1}, b = {1, 1};
  std::copy(a.begin(), a.end(), &values[parameters[1].offset]);
  std::copy(b.begin(), b.end(), &values[parameters[2].offset]);
  const auto run = [&] {
    const std::vector<float> x = {10, 1};
    Tape tape({.inference = true});
    tape.Begin(parameters.Bind(values, {}));
    return *lora.Forward(tape, tape.Input({1, 2}, x.data())).data();
  };
  EXPECT_EQ(run(), 39);
  lora.Merge(parameters, values);
  EXPECT_EQ(values[parameters[weight].offset], 3);
  EXPECT_EQ(values[parameters[weight].offset + 1], 9);
  EXPECT_EQ(run(), 39);
  lora.Merge(parameters, values);
  EXPECT_EQ(run(), 39);
}

TEST(LoraTest, RefusesWhatIsNoLayer) {
  ParameterSet parameters;
  parameters.Add({.name = "gain", .shape = {4}});
  parameters.Add({.name = "x.weight", .shape = {4, 4}});
  EXPECT_THROW(LoraLinear(parameters, 0, {}, {}), ContractViolation);
  EXPECT_THROW(LoraLinear(parameters, 1, {}, {.rank = 0}), ContractViolation);
}

}  // namespace
}  // namespace muster::nn
