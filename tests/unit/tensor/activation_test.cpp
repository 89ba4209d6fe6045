#include "tensor/kernels/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tensor/kernels/activation_math.h"
#include "tensor/kernels/vector_math.h"
#include "tests/support/gradient_check.h"

namespace muster {
namespace {

TEST(ActivationTest, ApproximationsAgreeWithTheMathsLibrary) {
  for (int i = -200000; i <= 200000; ++i) {
    const float x = static_cast<float>(i) * 1e-4F;
    const auto exact = static_cast<double>(x);
    ASSERT_NEAR(static_cast<double>(kernels::FastTanh(x)), std::tanh(exact), 4e-7) << x;
    ASSERT_NEAR(static_cast<double>(kernels::FastErf(x)), std::erf(exact), 4e-7) << x;
    const double e = std::exp(exact);
    ASSERT_NEAR(static_cast<double>(kernels::FastExp(x)), e, 3e-7 * e) << x;
  }
  for (int i = -126 * 64; i <= 127 * 64; ++i) {
    const float x = std::exp2(static_cast<float>(i) / 64.0F);
    const auto exact = static_cast<double>(x);
    const double log = std::log(exact), log1p = std::log1p(exact);
    ASSERT_NEAR(static_cast<double>(kernels::FastLog(x)), log, 1.5e-7 * std::abs(log) + 1e-9) << x;
    ASSERT_NEAR(static_cast<double>(kernels::FastLog1p(x)), log1p, 2.5e-7 * log1p) << x;
  }
  for (int i = -87'000; i <= 87'000; ++i) {
    const float x = static_cast<float>(i) * 1e-3F;
    const auto exact = static_cast<double>(x);
    const double sigmoid = 1 / (1 + std::exp(-exact)), softplus = std::log1p(std::exp(exact));
    ASSERT_NEAR(static_cast<double>(kernels::FastSigmoid(x)), sigmoid, 4e-7 * sigmoid) << x;
    ASSERT_NEAR(static_cast<double>(kernels::FastSoftplus(x)), softplus, 5e-7 * softplus) << x;
    const double silu = exact * sigmoid, slope = sigmoid * (1 + exact * (1 - sigmoid));
    ASSERT_NEAR(static_cast<double>(kernels::FastSilu(x)), silu, 4e-7 * std::abs(silu)) << x;
    ASSERT_NEAR(static_cast<double>(kernels::FastSiluSlope(x)), slope, 3e-7) << x;
  }
  EXPECT_EQ(kernels::FastExp(-1000.0F), 0.0F);
  EXPECT_EQ(kernels::FastExp(-std::numeric_limits<float>::infinity()), 0.0F);
  EXPECT_EQ(kernels::FastExp(0.0F), 1.0F);
}

TEST(ActivationTest, LogarithmsAndSigmoidsHoldAtTheirEnds) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(kernels::FastLog(1.0F), 0.0F);
  EXPECT_EQ(kernels::FastLog(0.0F), -infinity);
  EXPECT_EQ(kernels::FastLog(-0.0F), -infinity);
  EXPECT_EQ(kernels::FastLog(infinity), infinity);
  EXPECT_TRUE(std::isnan(kernels::FastLog(-1.0F)));
  EXPECT_TRUE(std::isnan(kernels::FastLog(-infinity)));
  EXPECT_EQ(kernels::FastLog1p(0.0F), 0.0F);
  EXPECT_EQ(kernels::FastLog1p(infinity), infinity);
  EXPECT_EQ(kernels::FastSigmoid(0.0F), 0.5F);
  EXPECT_EQ(kernels::FastSigmoid(-1000.0F), 0.0F);
  EXPECT_EQ(kernels::FastSigmoid(-infinity), 0.0F);
  EXPECT_EQ(kernels::FastSigmoid(infinity), 1.0F);
  EXPECT_EQ(kernels::FastSoftplus(-infinity), 0.0F);
  EXPECT_EQ(kernels::FastSoftplus(1000.0F), 1000.0F);
}

// Far out a GELU is its argument or 0, and its slope 1 or 0; a tanh is 1 or -1, and flat.
TEST(ActivationTest, SaturatesExactly) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> far = {10, 30, 300, 1e4F, 3e38F, kInfinity};
  for (const Activation activation : {Activation::kGelu, Activation::kGeluTanh}) {
    for (const float x : far) {
      SCOPED_TRACE(x);
      EXPECT_EQ(kernels::ActivationOf(activation, x), x);
      EXPECT_EQ(kernels::ActivationOf(activation, -x), 0);
      EXPECT_EQ(kernels::ActivationSlope(activation, x, 1), 1);
      EXPECT_NEAR(kernels::ActivationSlope(activation, -x, 1), 0, 1e-20);
    }
  }
  for (const float x : far) {
    const float y = kernels::ActivationOf(Activation::kTanh, x);
    EXPECT_EQ(y, 1);
    EXPECT_EQ(kernels::ActivationOf(Activation::kTanh, -x), -1);
    EXPECT_EQ(kernels::ActivationSlope(Activation::kTanh, y, 1), 0);
  }
  // On the way there the slope of a GELU is not off by what rounding leaves of 1 - tanh^2.
  for (float x = -12; x <= 12; x += 0.01F) {
    const double v = static_cast<double>(x), u = 0.7978845608028654 * (v + 0.044715 * v * v * v);
    const double t = std::tanh(u);
    const double slope =
        0.5 * (1 + t) + 0.5 * v * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * v * v);
    EXPECT_NEAR(static_cast<double>(kernels::ActivationSlope(Activation::kGeluTanh, x, 1)), slope,
                2e-5)
        << x;
  }
}

TEST(ActivationTest, LetsNanThrough) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(kernels::FastExp(nan)));
  EXPECT_TRUE(std::isnan(kernels::FastLog(nan)));
  for (const Activation activation :
       {Activation::kRelu, Activation::kTanh, Activation::kGelu, Activation::kGeluTanh,
        Activation::kSilu, Activation::kSigmoid, Activation::kSoftplus}) {
    float y = 0.0F;
    kernels::ActivationForward(activation, &nan, &y, 1);
    EXPECT_TRUE(std::isnan(y)) << static_cast<int>(activation);
  }
}

// gelu(1) = Phi(1) = 0.8413447; its tanh form is 0.8411920; sigmoid(1) = 0.7310586 and
// sigmoid(-2) = 0.1192029; softplus(0) = ln 2.
TEST(ActivationTest, MatchesHandWorkedValues) {
  const std::vector<float> x = {-2, 0, 1};
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.Input({3}, x.data());
  EXPECT_EQ(ops::Relu(tape, input).data()[0], 0.0F);
  EXPECT_EQ(ops::Relu(tape, input).data()[2], 1.0F);
  EXPECT_NEAR(ops::Tanh(tape, input).data()[2], 0.7615942F, 1e-6F);
  EXPECT_NEAR(ops::Gelu(tape, input).data()[2], 0.8413447F, 1e-6F);
  EXPECT_NEAR(ops::Activate(tape, input, Activation::kGeluTanh).data()[2], 0.8411920F, 1e-6F);
  EXPECT_NEAR(ops::Sigmoid(tape, input).data()[2], 0.7310586F, 1e-6F);
  EXPECT_NEAR(ops::Silu(tape, input).data()[0], -2 * 0.1192029F, 1e-6F);
  EXPECT_NEAR(ops::Softplus(tape, input).data()[1], 0.6931472F, 1e-6F);
}

TEST(ActivationTest, GradientsAgreeWithFiniteDifferences) {
  for (const Activation activation :
       {Activation::kTanh, Activation::kGelu, Activation::kGeluTanh, Activation::kSilu,
        Activation::kSigmoid, Activation::kSoftplus}) {
    SCOPED_TRACE(static_cast<int>(activation));
    testing::CheckGradient(
        [&](Tape& tape, const std::vector<Tensor>& in) {
          return ops::Activate(tape, in[0], activation);
        },
        {testing::RandomInput({3, 100}, 1)});
  }
}

TEST(ActivationTest, ReluPassesTheGradientOfPositiveValuesOnly) {
  const std::vector<float> x = {-1, 0, 2};
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.InputWithGradient({3}, x.data());
  tape.Backward(ops::Sum(tape, ops::Add(tape, ops::Relu(tape, input), ops::Relu(tape, input))));
  EXPECT_EQ(std::vector<float>(input.gradient(), input.gradient() + 3),
            (std::vector<float>{0, 0, 2}));
}

}  // namespace
}  // namespace muster
