#include "tensor/kernels/pool2d.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "base/check.h"
#include "tests/support/gradient_check.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using Values = std::vector<double>;

TEST(Pool2dTest, MatchesHandWorkedExample) {
  const std::vector<float> x = {1, 5, 2, 2,  //
                                3, 4, 2, 2};
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.InputWithGradient({1, 2, 4, 1}, x.data());
  const Tensor largest = ops::MaxPool2d(tape, input);
  EXPECT_EQ(largest.shape(), (Shape{1, 1, 2, 1}));
  EXPECT_EQ(largest.data()[0], 5.0F);
  EXPECT_EQ(largest.data()[1], 2.0F);
  EXPECT_EQ(ops::AvgPool2d(tape, input).data()[0], 3.25F);
  tape.Backward(ops::Sum(tape, largest));
  // Of four equal values the first gets it all.
  EXPECT_EQ(std::vector<float>(input.gradient(), input.gradient() + 8),
            (std::vector<float>{0, 1, 1, 0, 0, 0, 0, 0}));
}

TEST(Pool2dTest, ANanIsTheMaximum) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Tape tape;
  tape.Begin({});
  for (std::size_t at = 0; at < 4; ++at) {
    std::vector<float> x = {1, 2, 3, 4};
    x[at] = nan;
    EXPECT_TRUE(std::isnan(ops::MaxPool2d(tape, tape.Input({1, 2, 2, 1}, x.data())).data()[0]));
  }
}

// Values a whole step apart, so that no difference changes a winner.
testing::CheckedInput Distinct(const Shape& shape, unsigned seed) {
  testing::CheckedInput input{shape, std::vector<float>(shape.elements())};
  for (std::size_t i = 0; i < input.values.size(); ++i) {
    input.values[i] = 0.05F * static_cast<float>(i);
  }
  std::shuffle(input.values.begin(), input.values.end(), std::mt19937(seed));
  return input;
}

// Tiling, overlapping, and with gaps and a rest.
TEST(Pool2dTest, GradientsAgreeWithFiniteDifferences) {
  for (const ops::Pool2dOptions options :
       {ops::Pool2dOptions{2, 2}, ops::Pool2dOptions{3, 1}, ops::Pool2dOptions{2, 3}}) {
    for (const Shape& shape : {Shape{2, 4, 6, 3}, Shape{1, 5, 7, 9}}) {
      SCOPED_TRACE(shape.ToString() + " kernel " + std::to_string(options.kernel));
      testing::CheckGradient(
          [&](Tape& tape, const std::vector<Tensor>& in) {
            return ops::MaxPool2d(tape, in[0], options);
          },
          {Distinct(shape, 7)});
      testing::CheckGradient(
          [&](Tape& tape, const std::vector<Tensor>& in) {
            const Tensor y = ops::AvgPool2d(tape, in[0], options);
            return ops::Add(tape, y, ops::MaxPool2d(tape, in[0], options));
          },
          {Distinct(shape, 8)});
    }
  }
}

Values PoolInDouble(const Values& x, const Shape& shape, const ops::Pool2dOptions& o, bool max) {
  const auto size = [&](std::size_t n) { return (n + 2 * o.padding - o.kernel) / o.stride + 1; };
  Values y;
  for (std::size_t n = 0; n < shape[0]; ++n) {
    for (std::size_t row = 0; row < size(shape[1]); ++row) {
      for (std::size_t column = 0; column < size(shape[2]); ++column) {
        for (std::size_t c = 0; c < shape[3]; ++c) {
          double best = -std::numeric_limits<double>::infinity(), sum = 0;
          for (std::size_t i = 0; i < o.kernel * o.kernel; ++i) {
            const std::size_t h = row * o.stride + i / o.kernel - o.padding;  // Wraps below 0.
            const std::size_t v = column * o.stride + i % o.kernel - o.padding;
            if (h >= shape[1] || v >= shape[2]) continue;
            const double value = x[((n * shape[1] + h) * shape[2] + v) * shape[3] + c];
            best = std::max(best, value);
            sum += value;
          }
          y.push_back(max ? best : sum / static_cast<double>(o.kernel * o.kernel));
        }
      }
    }
  }
  return y;
}

// Values that bf16 tells apart, each negative so that padding with zeros would be noticed.
testing::OpInput DistinctInBf16(const Shape& shape, unsigned seed) {
  testing::OpInput input{shape, Values(shape.elements())};
  for (std::size_t i = 0; i < input.values.size(); ++i) {
    const auto place = static_cast<double>(i % 128);
    input.values[i] = -std::pow(2.0, static_cast<double>(i / 128)) * (1 + place / 128);
  }
  std::shuffle(input.values.begin(), input.values.end(), std::mt19937(seed));
  return input;
}

// Tiling, overlapping, gaps, IMPALA's 3/2 with padding 1, a rest, an image of one element.
TEST(Pool2dTest, BothTypesAgreeWithDouble) {
  ThreadPool pool(2);
  for (const ops::Pool2dOptions o :
       {ops::Pool2dOptions{2, 2, 0}, ops::Pool2dOptions{3, 1, 0}, ops::Pool2dOptions{2, 3, 0},
        ops::Pool2dOptions{3, 2, 1}, ops::Pool2dOptions{2, 2, 1}, ops::Pool2dOptions{1, 1, 0},
        ops::Pool2dOptions{3, 3, 0}, ops::Pool2dOptions{5, 2, 2}}) {
    for (const Shape& shape : {Shape{2, 5, 6, 3}, Shape{1, 6, 4, 11}, Shape{3, 1, 1, 2}}) {
      if (shape[1] + 2 * o.padding < o.kernel) continue;
      SCOPED_TRACE(shape.ToString() + " kernel " + std::to_string(o.kernel) + " stride " +
                   std::to_string(o.stride) + " padding " + std::to_string(o.padding));
      testing::CheckOp([&](Tape& tape, const auto& in) { return ops::MaxPool2d(tape, in[0], o); },
                       [&](const auto& in) { return PoolInDouble(in[0], shape, o, true); },
                       {DistinctInBf16(shape, 3)}, {}, &pool);
      testing::CheckOp(
          [&](Tape& tape, const auto& in) {
            return ops::Add(tape, ops::AvgPool2d(tape, in[0], o), ops::AvgPool2d(tape, in[0], o));
          },
          [&](const auto& in) {
            Values y = PoolInDouble(in[0], shape, o, false);
            for (double& value : y) value *= 2;
            return y;
          },
          {testing::Normal(shape, 4)}, {}, &pool);
    }
  }
}

// A gradient that is there already is added to, also where windows tile the image.
TEST(Pool2dTest, GradientsOfTwoUsesAddInBf16) {
  const Shape shape{2, 4, 6, 9};
  testing::CheckOp(
      [](Tape& tape, const auto& in) {
        return ops::Add(tape, ops::MaxPool2d(tape, in[0]), ops::AvgPool2d(tape, in[0]));
      },
      [&](const auto& in) {
        Values y = PoolInDouble(in[0], shape, {}, true);
        const Values mean = PoolInDouble(in[0], shape, {}, false);
        for (std::size_t i = 0; i < y.size(); ++i) y[i] += mean[i];
        return y;
      },
      {DistinctInBf16(shape, 5)}, {.f32 = 2e-5, .bf16 = 3e-2});
}

TEST(Pool2dTest, RefusesPaddingThatLeavesAWindowEmpty) {
  const std::vector<float> x(16);
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.Input({1, 4, 4, 1}, x.data());
  EXPECT_THROW(ops::MaxPool2d(tape, input, {.kernel = 3, .stride = 2, .padding = 2}),
               ContractViolation);
}

TEST(Pool2dTest, RefusesAWindowLargerThanTheImage) {
  const std::vector<float> x(4);
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.Input({1, 2, 2, 1}, x.data());
  EXPECT_THROW(ops::MaxPool2d(tape, input, {3, 1}), ContractViolation);
}

}  // namespace
}  // namespace muster
