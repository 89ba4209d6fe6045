#include "tensor/kernels/pool2d.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/check.h"
#include "tests/support/gradient_check.h"

namespace muster {
namespace {

using testing::RandomInput;

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

TEST(Pool2dTest, RefusesAWindowLargerThanTheImage) {
  const std::vector<float> x(4);
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.Input({1, 2, 2, 1}, x.data());
  EXPECT_THROW(ops::MaxPool2d(tape, input, {3, 1}), ContractViolation);
}

}  // namespace
}  // namespace muster
