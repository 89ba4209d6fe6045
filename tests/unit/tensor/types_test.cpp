// Ops that work in f32 and in bf16, each in both against double.
#include <gtest/gtest.h>

#include <cmath>

#include "base/check.h"
#include "tensor/kernels/conv2d.h"
#include "tensor/kernels/linear.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::Normal;
using Values = std::vector<double>;

double ActivationInDouble(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return 0.5 * x *
             (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::kSoftplus:
      return std::log1p(std::exp(x));
  }
  return 0;
}

Values LinearInDouble(const Values& x, const Values& weight, const Values& bias,
                      Activation activation) {
  const std::size_t out = bias.size(), in = weight.size() / out;
  Values y;
  for (std::size_t row = 0; row < x.size() / in; ++row) {
    for (std::size_t o = 0; o < out; ++o) {
      double sum = bias[o];
      for (std::size_t i = 0; i < in; ++i) sum += x[row * in + i] * weight[o * in + i];
      y.push_back(ActivationInDouble(activation, sum));
    }
  }
  return y;
}

constexpr Activation kSmooth[] = {Activation::kNone,     Activation::kTanh, Activation::kGelu,
                                  Activation::kGeluTanh, Activation::kSilu, Activation::kSigmoid,
                                  Activation::kSoftplus};

TEST(TypesTest, LinearAgreesWithDouble) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const Activation activation : kSmooth) {
    for (const auto& [rows, in, out] :
         {std::array<std::size_t, 3>{0, 3, 2}, {1, 1, 1}, {2, 7, 5}, {13, 16, 9}, {3, 31, 37}}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(activation)) + ": " + std::to_string(rows) +
                   " x " + std::to_string(in) + " x " + std::to_string(out));
      CheckOp([&](Tape& tape,
                  const auto& t) { return ops::Linear(tape, t[0], t[1], t[2], activation); },
              [&](const auto& t) { return LinearInDouble(t[0], t[1], t[2], activation); },
              {Normal({rows, in}, ++seed), Normal({out, in}, ++seed, 0.4), Normal({out}, ++seed)},
              {.f32 = 5e-5, .bf16 = 8e-2}, &pool);
    }
  }
}

// The same input by two ways: the second contribution is added to the first.
TEST(TypesTest, GradientsOfTwoUsesAdd) {
  CheckOp(
      [](Tape& tape, const auto& t) {
        return ops::Add(tape, ops::Linear(tape, t[0], t[1], t[2]),
                        ops::Linear(tape, t[0], t[1], t[2], Activation::kTanh));
      },
      [](const auto& t) {
        Values sum = LinearInDouble(t[0], t[1], t[2], Activation::kNone);
        const Values second = LinearInDouble(t[0], t[1], t[2], Activation::kTanh);
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += second[i];
        return sum;
      },
      {Normal({4, 5}, 1), Normal({3, 5}, 2, 0.4), Normal({3}, 3)}, {.f32 = 5e-5, .bf16 = 8e-2});
}

TEST(TypesTest, ActivationsAgreeWithDouble) {
  for (const Activation activation :
       {Activation::kRelu, Activation::kTanh, Activation::kGelu, Activation::kGeluTanh,
        Activation::kSilu, Activation::kSigmoid, Activation::kSoftplus}) {
    for (const Shape& shape : {Shape{0, 4}, Shape{1}, Shape{5, 61}, Shape{2, 3, 1, 13}}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(activation)) + " " + shape.ToString());
      auto x = Normal(shape, 7, 2);
      for (double& value : x.values) {
        if (std::abs(value) < 1e-3) value = 1e-3;  // A relu has no derivative at 0.
      }
      CheckOp([&](Tape& tape, const auto& t) { return ops::Activate(tape, t[0], activation); },
              [&](const auto& t) {
                Values y = t[0];
                for (double& value : y) value = ActivationInDouble(activation, value);
                return y;
              },
              {x});
    }
  }
}

TEST(TypesTest, ArithmeticAgreesWithDouble) {
  const auto a = Normal({3, 7}, 1), b = Normal({3, 7}, 2);
  CheckOp(
      [](Tape& tape, const auto& t) {
        const Tensor product = ops::Multiply(tape, t[0], ops::Reshape(tape, t[1], {3, 7}));
        return ops::Scale(tape, ops::Add(tape, product, t[0]), -1.5F);
      },
      [](const auto& t) {
        Values y = t[0];
        for (std::size_t i = 0; i < y.size(); ++i) y[i] = -1.5 * (y[i] * t[1][i] + y[i]);
        return y;
      },
      {a, b});
  CheckOp([](Tape& tape, const auto& t) { return ops::Mean(tape, t[0]); },
          [](const auto& t) {
            double sum = 0;
            for (const double value : t[0]) sum += value;
            return Values{sum / static_cast<double>(t[0].size())};
          },
          {a});
}

TEST(TypesTest, CastsRoundOnceAndPassGradientsOn) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    CheckOp([&](Tape& tape, const auto& t) { return ops::Cast(tape, t[0], type); },
            [](const auto& t) { return t[0]; }, {Normal({40}, 3)}, {.f32 = 1e-2, .bf16 = 1e-2});
  }
}

// Nothing in, nothing to compute: sums over nothing are 0, gradients are zeros or empty.
TEST(TypesTest, SizesMayBeZero) {
  const std::vector<float> weight(12, 1), bias = {1, 2, 3, 4};
  std::vector<float> weight_gradient(12, 7), bias_gradient(4, 7);
  const std::vector<LeafBinding> leaves = {{{4, 3}, weight.data(), weight_gradient.data()},
                                           {{4, 0}, weight.data(), weight_gradient.data()},
                                           {{4}, bias.data(), bias_gradient.data()},
                                           {{4, 3, 1, 1}, weight.data(), weight_gradient.data()}};
  Tape tape;
  tape.Begin(leaves);
  const Tensor no_rows =
      ops::Linear(tape, tape.Input({0, 3}, weight.data()), tape.Parameter(0), tape.Parameter(2));
  EXPECT_EQ(no_rows.shape(), (Shape{0, 4}));
  const Tensor bias_alone =
      ops::Linear(tape, tape.Input({2, 0}, weight.data()), tape.Parameter(1), tape.Parameter(2));
  EXPECT_EQ(std::vector<float>(bias_alone.values().begin(), bias_alone.values().end()),
            (std::vector<float>{1, 2, 3, 4, 1, 2, 3, 4}));
  const Tensor no_images =
      ops::Conv2d(tape, tape.Input({0, 5, 5, 3}, weight.data()), tape.Parameter(3), {});
  EXPECT_EQ(no_images.shape(), (Shape{0, 5, 5, 4}));
  tape.Backward(ops::Sum(tape, bias_alone));
  EXPECT_EQ(bias_gradient, std::vector<float>(4, 2));
}

TEST(TypesTest, MoreElementsThanThereAreNumbersIsOutOfMemory) {
  Tape tape;
  tape.Begin({});
  EXPECT_THROW(tape.NewOutput({std::size_t{1} << 62U, 8}), OutOfMemory);
  EXPECT_EQ(tape.NewOutput({2, 2}).elements(), 4U);  // The tape goes on.
}

TEST(TypesTest, RefusesToMixThem) {
  const std::vector<float> wide(4);
  const std::vector<BFloat16> narrow(4);
  Tape tape;
  tape.Begin({});
  const Tensor a = tape.Input({2, 2}, wide.data()), b = tape.Input({2, 2}, narrow.data());
  EXPECT_THROW(ops::Add(tape, a, b), ContractViolation);
  EXPECT_THROW(ops::Linear(tape, a, b, Tensor()), ContractViolation);
  EXPECT_THROW(b.data(), ContractViolation);
}

}  // namespace
}  // namespace muster
