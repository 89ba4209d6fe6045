#include "tensor/kernels/norm.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/support/gradient_check.h"

namespace muster {
namespace {

using testing::RandomInput;

// mean 2, variance 1: (x - 2) / sqrt(1 + 0) * gain + bias.
TEST(NormTest, MatchesHandWorkedExample) {
  const std::vector<float> x = {1, 3}, gain = {2, 10}, bias = {0, 1};
  Tape tape;
  tape.Begin({});
  const Tensor y = ops::LayerNorm(tape, tape.Input({1, 2}, x.data()), tape.Input({2}, gain.data()),
                                  tape.Input({2}, bias.data()), 0.0F);
  EXPECT_EQ(y.data()[0], -2.0F);
  EXPECT_EQ(y.data()[1], 11.0F);
}

TEST(NormTest, GroupsHaveMeanZeroAndDeviationOne) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    const auto x = RandomInput({3, 4, 5, 6}, seed, 3.0F);
    const std::vector<float> ones(6, 1.0F), zeros(6, 0.0F);
    Tape tape;
    tape.Begin({});
    const Tensor y = ops::GroupNorm(tape, tape.Input(x.shape, x.values.data()),
                                    tape.Input({6}, ones.data()), tape.Input({6}, zeros.data()), 2);
    for (std::size_t sample = 0; sample < 3; ++sample) {
      for (std::size_t group = 0; group < 2; ++group) {
        double sum = 0.0, squares = 0.0;
        for (std::size_t i = 0; i < 20; ++i) {
          for (std::size_t c = 0; c < 3; ++c) {
            const auto v = static_cast<double>(y.data()[(sample * 20 + i) * 6 + group * 3 + c]);
            sum += v;
            squares += v * v;
          }
        }
        EXPECT_NEAR(sum / 60.0, 0.0, 1e-5);
        EXPECT_NEAR(squares / 60.0, 1.0, 1e-4);
      }
    }
  }
}

TEST(NormTest, GradientsAgreeWithFiniteDifferences) {
  testing::CheckGradient(
      [](Tape& tape, const std::vector<Tensor>& in) {
        return ops::LayerNorm(tape, in[0], in[1], in[2]);
      },
      {RandomInput({70, 5}, 1), RandomInput({5}, 2), RandomInput({5}, 3)},
      // Rows of five may have a small deviation; the truncation error grows with its cube.
      {.step = 1.0F / 512.0F, .tolerance = 1e-2F});
  testing::CheckGradient(
      [](Tape& tape, const std::vector<Tensor>& in) {
        return ops::GroupNorm(tape, in[0], in[1], in[2], 2);
      },
      {RandomInput({2, 3, 2, 4}, 1), RandomInput({4}, 2), RandomInput({4}, 3)});
}

TEST(NormTest, RefusesGroupsThatDoNotDivide) {
  const std::vector<float> values(64);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({1, 2, 2, 4}, values.data());
  const Tensor p = tape.Input({4}, values.data());
  EXPECT_THROW(ops::GroupNorm(tape, x, p, p, 3), ContractViolation);
  EXPECT_THROW(ops::LayerNorm(tape, x, tape.Input({3}, values.data()), p), ContractViolation);
}

}  // namespace
}  // namespace muster
