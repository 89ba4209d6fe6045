#include "tensor/kernels/linear.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/support/gradient_check.h"

namespace muster {
namespace {

using testing::RandomInput;

TEST(LinearTest, MatchesHandWorkedExample) {
  const std::vector<float> x = {1, 2}, w = {1, 0, 0, 1, -1, -1}, b = {0.5F, 0, 1};
  Tape tape;
  tape.Begin({});
  const auto run = [&](Activation activation) {
    const Tensor y = ops::Linear(tape, tape.Input({1, 2}, x.data()), tape.Input({3, 2}, w.data()),
                                 tape.Input({3}, b.data()), activation);
    return std::vector<float>(y.values().begin(), y.values().end());
  };
  EXPECT_EQ(run(Activation::kNone), (std::vector<float>{1.5F, 2, -2}));
  EXPECT_EQ(run(Activation::kRelu), (std::vector<float>{1.5F, 2, 0}));
}

// Shapes around the blocks' edges, against the sum in double.
TEST(LinearTest, AgreesWithAPlainSumInDouble) {
  struct Case {
    std::size_t rows, in, out;
  };
  for (const Case& c : {Case{1, 1, 1}, Case{1, 7, 1}, Case{5, 300, 3}, Case{129, 20, 257},
                        Case{128, 64, 256}, Case{300, 3, 10}}) {
    SCOPED_TRACE(c.rows);
    const auto x = RandomInput({c.rows, c.in}, 1), w = RandomInput({c.out, c.in}, 2),
               b = RandomInput({c.out}, 3);
    Tape tape;
    tape.Begin({});
    const Tensor y =
        ops::Linear(tape, tape.Input(x.shape, x.values.data()),
                    tape.Input(w.shape, w.values.data()), tape.Input(b.shape, b.values.data()));
    for (std::size_t row = 0; row < c.rows; ++row) {
      for (std::size_t o = 0; o < c.out; ++o) {
        auto sum = static_cast<double>(b.values[o]);
        for (std::size_t i = 0; i < c.in; ++i) {
          sum += static_cast<double>(x.values[row * c.in + i]) *
                 static_cast<double>(w.values[o * c.in + i]);
        }
        // in products of size ~1, each rounded to 2^-24.
        ASSERT_NEAR(static_cast<double>(y.data()[row * c.out + o]), sum, 2e-5) << row << "," << o;
      }
    }
  }
}

TEST(LinearTest, GradientsAgreeWithFiniteDifferences) {
  for (const Activation activation : {Activation::kNone, Activation::kTanh, Activation::kGelu}) {
    SCOPED_TRACE(static_cast<int>(activation));
    testing::CheckGradient(
        [&](Tape& tape, const std::vector<Tensor>& in) {
          return ops::Linear(tape, in[0], in[1], in[2], activation);
        },
        {RandomInput({6, 5}, 1), RandomInput({4, 5}, 2, 0.5F), RandomInput({4}, 3)});
  }
}

// Far from the kink: every pre-activation is at least 0.5 away from 0.
TEST(LinearTest, ReluGradientsAgreeWithFiniteDifferences) {
  testing::CheckedInput bias{{4}, {9, -9, 9, -9}};
  testing::CheckGradient(
      [](Tape& tape, const std::vector<Tensor>& in) {
        return ops::Linear(tape, in[0], in[1], in[2], Activation::kRelu);
      },
      {RandomInput({6, 5}, 1), RandomInput({4, 5}, 2, 0.5F), bias});
}

// The same weight and input twice: every sink of the second node accumulates.
TEST(LinearTest, SharedParametersAddTheirGradients) {
  testing::CheckGradient(
      [](Tape& tape, const std::vector<Tensor>& in) {
        const Tensor hidden = ops::Linear(tape, in[0], in[1], in[2], Activation::kTanh);
        return ops::Add(tape, ops::Linear(tape, hidden, in[1], in[2]),
                        ops::Linear(tape, in[0], in[1], in[2]));
      },
      {RandomInput({3, 4}, 1), RandomInput({4, 4}, 2, 0.5F), RandomInput({4}, 3)});
}

TEST(LinearTest, RefusesMismatchedShapes) {
  const std::vector<float> values(12);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({2, 3}, values.data());
  EXPECT_THROW(ops::Linear(tape, x, tape.Input({3, 4}, values.data()), {}), ContractViolation);
  EXPECT_THROW(
      ops::Linear(tape, x, tape.Input({4, 3}, values.data()), tape.Input({3}, values.data())),
      ContractViolation);
}

}  // namespace
}  // namespace muster
