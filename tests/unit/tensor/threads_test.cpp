// Same bits on any number of threads: every op that shares blocks, forward and backward.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "tensor/kernels/conv2d.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/group_norm.h"
#include "tensor/kernels/linear.h"
#include "tensor/kernels/pool2d.h"
#include "tensor/kernels/row_norm.h"
#include "tensor/kernels/softmax_cross_entropy.h"
#include "tests/support/gradient_check.h"

namespace muster {
namespace {

// All gradients and the logits of a network with several blocks in every dimension.
std::vector<float> LogitsAndGradients(std::size_t threads, std::size_t samples) {
  const std::vector<Shape> shapes = {{16, 3, 3, 3}, {16},       {16},  {16},     {32, 16, 3, 3},
                                     {32},          {300, 512}, {300}, {7, 300}, {7}};
  std::vector<testing::CheckedInput> values;
  std::vector<std::vector<float>> gradients;
  std::vector<LeafBinding> leaves;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    values.push_back(testing::RandomInput(shapes[i], static_cast<unsigned>(i), 0.1F));
    gradients.emplace_back(shapes[i].elements());
  }
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    leaves.push_back({shapes[i], values[i].values.data(), gradients[i].data()});
  }
  const auto images = testing::RandomInput({samples, 16, 16, 3}, 99);
  std::vector<std::int32_t> targets(samples);
  for (std::size_t i = 0; i < samples; ++i) targets[i] = static_cast<std::int32_t>(i % 7);

  ThreadPool pool(threads);
  Tape tape({.pool = &pool});
  tape.Begin(leaves);
  const auto p = [&](std::size_t i) { return tape.Parameter(i); };
  Tensor x = tape.Input(images.shape, images.values.data());
  x = ops::Conv2d(tape, x, p(0), p(1), {.padding = 1});
  x = ops::GroupNorm(tape, x, p(2), p(3), 4);
  x = ops::MaxPool2d(tape, ops::Relu(tape, x));
  x = ops::Conv2d(tape, x, p(4), p(5), {.padding = 1, .relu = true});
  x = ops::Flatten(tape, ops::AvgPool2d(tape, x));
  x = ops::Linear(tape, x, p(6), p(7), Activation::kGelu);
  x = ops::Linear(tape, x, p(8), p(9));
  const auto result = ops::SoftmaxCrossEntropy(tape, x, targets, 1.0F);
  tape.Backward(result.loss);
  std::vector<float> all(x.values().begin(), x.values().end());
  for (const auto& gradient : gradients) all.insert(all.end(), gradient.begin(), gradient.end());
  return all;
}

TEST(ThreadsTest, OneTwoAndThreeThreadsGiveTheSameBits) {
  for (const std::size_t samples : {1, 13, 131}) {
    SCOPED_TRACE(samples);
    const std::vector<float> one = LogitsAndGradients(1, samples);
    for (const std::size_t threads : {2, 3}) {
      const std::vector<float> more = LogitsAndGradients(threads, samples);
      ASSERT_EQ(one.size(), more.size());
      EXPECT_EQ(std::memcmp(one.data(), more.data(), one.size() * sizeof(float)), 0) << threads;
    }
  }
}

// Weight and bias gradients over many blocks of samples equal the sum, in double, of each sample's.
TEST(ThreadsTest, TheGradientOfABatchIsTheSumOfItsSamples) {
  const std::vector<Shape> shapes = {{35, 2, 3, 3}, {35}, {5, 560}, {5}};
  constexpr std::size_t kSamples = 300;
  const auto images = testing::RandomInput({kSamples, 4, 4, 2}, 99);
  std::vector<testing::CheckedInput> values;
  for (const Shape& shape : shapes) values.push_back(testing::RandomInput(shape, 5, 0.3F));
  const auto gradients_of = [&](std::size_t begin, std::size_t count) {
    std::vector<std::vector<float>> gradients;
    for (const Shape& shape : shapes) gradients.emplace_back(shape.elements());
    std::vector<LeafBinding> leaves;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      leaves.push_back({shapes[i], values[i].values.data(), gradients[i].data()});
    }
    Tape tape;
    tape.Begin(leaves);
    Tensor x = tape.Input({count, 4, 4, 2}, images.values.data() + begin * 32);
    x = ops::Conv2d(tape, x, tape.Parameter(0), tape.Parameter(1), {.padding = 1, .relu = true});
    x = ops::Linear(tape, ops::Flatten(tape, x), tape.Parameter(2), tape.Parameter(3),
                    Activation::kTanh);
    tape.Backward(ops::Sum(tape, x));
    return gradients;
  };
  const auto whole = gradients_of(0, kSamples);
  std::vector<std::vector<double>> sums;
  for (const Shape& shape : shapes) sums.emplace_back(shape.elements());
  for (std::size_t sample = 0; sample < kSamples; ++sample) {
    const auto one = gradients_of(sample, 1);
    for (std::size_t i = 0; i < one.size(); ++i) {
      for (std::size_t j = 0; j < one[i].size(); ++j) sums[i][j] += static_cast<double>(one[i][j]);
    }
  }
  for (std::size_t i = 0; i < sums.size(); ++i) {
    for (std::size_t j = 0; j < sums[i].size(); ++j) {
      // Thousands of terms of size ~1, each sum rounded to 2^-24.
      ASSERT_NEAR(static_cast<double>(whole[i][j]), sums[i][j], 5e-4) << i << "," << j;
    }
  }
}

}  // namespace
}  // namespace muster
