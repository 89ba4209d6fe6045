#include "tensor/kernels/group_norm.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/support/gradient_check.h"

namespace muster {
namespace {

using testing::RandomInput;

TEST(GroupNormTest, GroupsHaveMeanZeroAndDeviationOne) {
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

TEST(GroupNormTest, GradientsAgreeWithFiniteDifferences) {
  testing::CheckGradient(
      [](Tape& tape, const std::vector<Tensor>& in) {
        return ops::GroupNorm(tape, in[0], in[1], in[2], 2);
      },
      {RandomInput({2, 3, 2, 4}, 1), RandomInput({4}, 2), RandomInput({4}, 3)});
}

TEST(GroupNormTest, RefusesGroupsThatDoNotDivide) {
  const std::vector<float> values(64);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({1, 2, 2, 4}, values.data());
  const Tensor p = tape.Input({4}, values.data());
  EXPECT_THROW(ops::GroupNorm(tape, x, p, p, 3), ContractViolation);
}

}  // namespace
}  // namespace muster
