#include "tensor/kernels/group_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/check.h"
#include "tests/support/gradient_check.h"
#include "tests/support/op_check.h"

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

using Values = std::vector<double>;

Values NormInDouble(const std::vector<Values>& in, const Shape& shape, std::size_t groups) {
  const std::size_t channels = shape[3], positions = shape[1] * shape[2], width = channels / groups;
  Values y(in[0].size());
  for (std::size_t sample = 0; sample < shape[0]; ++sample) {
    for (std::size_t group = 0; group < groups; ++group) {
      const auto each = [&](const auto& body) {
        for (std::size_t i = 0; i < positions * width; ++i) {
          const std::size_t channel = group * width + i % width;
          body((sample * positions + i / width) * channels + channel, channel);
        }
      };
      const auto count = static_cast<double>(positions * width);
      double mean = 0, variance = 0;
      each([&](std::size_t at, std::size_t) { mean += in[0][at] / count; });
      each([&](std::size_t at, std::size_t) {
        variance += (in[0][at] - mean) * (in[0][at] - mean) / count;
      });
      each([&](std::size_t at, std::size_t c) {
        y[at] = (in[0][at] - mean) / std::sqrt(variance + 1e-5) * in[1][c] + in[2][c];
      });
    }
  }
  return y;
}

// No sample, one, more than a block of them; groups of one number, of all channels.
TEST(GroupNormTest, AgreesWithDoubleInAnyShape) {
  struct Case {
    Shape shape;
    std::size_t groups;
  };
  ThreadPool pool(2);
  unsigned seed = 1;
  for (const Case& c : {Case{{0, 3, 2, 4}, 2}, Case{{1, 1, 1, 2}, 2}, Case{{2, 3, 5, 6}, 3},
                        Case{{1, 7, 1, 11}, 1}, Case{{67, 1, 3, 2}, 1}}) {
    SCOPED_TRACE(c.shape.ToString());
    testing::CheckOp(
        [&](Tape& tape, const auto& in) {
          return ops::GroupNorm(tape, in[0], in[1], in[2], c.groups);
        },
        [&](const auto& in) { return NormInDouble(in, c.shape, c.groups); },
        {testing::Normal(c.shape, ++seed, 2, 0.5), testing::Normal({c.shape[3]}, ++seed),
         testing::Normal({c.shape[3]}, ++seed)},
        {.f32 = 2e-4, .bf16 = 6e-2}, &pool);
  }
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
