#include "tensor/kernels/gaussian.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numbers>

#include "base/check.h"
#include "tensor/kernels/normal_draw.h"
#include "tests/support/limits.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::AsFloats;
using testing::CheckOp;
using testing::kNan;
using testing::Normal;
using Values = std::vector<double>;

const double kHalfLogTwoPi = 0.5 * std::log(2 * std::numbers::pi);

// log-probability + 0.7 entropy of each row.
Values InDouble(const Values& mean, const Values& log_std, const std::vector<float>& actions,
                std::size_t width) {
  Values result(mean.size() / width);
  for (std::size_t i = 0; i < mean.size(); ++i) {
    const double s = log_std[log_std.size() == width ? i % width : i];
    const double z = (static_cast<double>(actions[i]) - mean[i]) / std::exp(s);
    result[i / width] += -0.5 * z * z - s - kHalfLogTwoPi + 0.7 * (0.5 + kHalfLogTwoPi + s);
  }
  return result;
}

// mean {0, 1}, deviations {1, 2}, actions {1, 3}: z = {1, 1}.
TEST(GaussianTest, MatchesHandWorkedExample) {
  const std::vector<float> mean = {0, 1}, log_std = {0, std::log(2.0F)}, actions = {1, 3};
  Tape tape;
  tape.Begin({});
  const Tensor m = tape.InputWithGradient({1, 2}, mean.data());
  const Tensor s = tape.InputWithGradient({2}, log_std.data());
  const auto result = ops::DiagonalGaussian(tape, m, s, actions);
  EXPECT_NEAR(result.log_probs.data()[0], -1 - std::log(2.0) - 2 * kHalfLogTwoPi, 1e-6);
  EXPECT_NEAR(result.entropy.data()[0], 1 + 2 * kHalfLogTwoPi + std::log(2.0), 1e-6);
  tape.Backward(ops::Sum(tape, result.log_probs));
  EXPECT_NEAR(m.gradient()[0], 1.0F, 1e-6F);
  EXPECT_NEAR(m.gradient()[1], 0.5F, 1e-6F);
  EXPECT_NEAR(s.gradient()[0], 0.0F, 1e-6F);
  EXPECT_NEAR(s.gradient()[1], 0.0F, 1e-6F);
}

TEST(GaussianTest, AgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const std::size_t rows : {0, 1, 3, 67}) {
    for (const std::size_t width : {1, 2, 7, 300}) {
      if (rows * width > 500) continue;  // Its differences would take seconds.
      for (const bool shared : {true, false}) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width) +
                     (shared ? ", shared" : ""));
        const std::vector<float> actions = AsFloats(Normal({rows, width}, ++seed).values);
        const Shape of_std = shared ? Shape{width} : Shape{rows, width};
        CheckOp(
            [&](Tape& tape, const auto& in) {
              const auto result = ops::DiagonalGaussian(tape, in[0], in[1], actions);
              return ops::Add(tape, result.log_probs, ops::Scale(tape, result.entropy, 0.7F));
            },
            [&](const auto& in) { return InDouble(in[0], in[1], actions, width); },
            {Normal({rows, width}, ++seed), Normal(of_std, ++seed, 0.4)},
            {.f32 = 3e-5, .bf16 = 1e-2}, &pool);
      }
    }
  }
}

// The second use adds to the gradient of the first.
TEST(GaussianTest, GradientsOfTwoUsesAdd) {
  const std::vector<float> first = AsFloats(Normal({4, 3}, 1).values),
                           second = AsFloats(Normal({4, 3}, 2).values);
  for (const Shape& of_std : {Shape{3}, Shape{4, 3}}) {
    CheckOp(
        [&](Tape& tape, const auto& in) {
          const auto a = ops::DiagonalGaussian(tape, in[0], in[1], first);
          const auto b = ops::DiagonalGaussian(tape, in[0], in[1], second);
          const Tensor entropy = ops::Scale(tape, ops::Add(tape, a.entropy, b.entropy), 0.7F);
          return ops::Add(tape, ops::Add(tape, a.log_probs, b.log_probs), entropy);
        },
        [&](const auto& in) {
          Values sum = InDouble(in[0], in[1], first, 3);
          const Values more = InDouble(in[0], in[1], second, 3);
          for (std::size_t row = 0; row < 4; ++row) sum[row] += more[row];
          return sum;
        },
        {Normal({4, 3}, 3), Normal(of_std, 4, 0.4)}, {.f32 = 3e-5, .bf16 = 2e-2});
  }
}

TEST(GaussianTest, TheEntropyAloneHasItsGradient) {
  const std::vector<float> mean = {0, 1, 2, 3}, log_std = {0, 1}, actions(4);
  Tape tape;
  tape.Begin({});
  const Tensor m = tape.InputWithGradient({2, 2}, mean.data());
  const Tensor s = tape.InputWithGradient({2}, log_std.data());
  tape.Backward(ops::Sum(tape, ops::DiagonalGaussian(tape, m, s, actions).entropy));
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(m.gradient()[i], 0.0F);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(s.gradient()[i], 2.0F);
}

TEST(GaussianTest, PassesNanOnButNotFromAMaskedRow) {
  const std::vector<float> mean = {kNan, 1}, log_std = {0}, actions = {0, 0}, mask = {0, 1};
  Tape tape;
  tape.Begin({});
  const Tensor m = tape.InputWithGradient({2, 1}, mean.data());
  const Tensor s = tape.InputWithGradient({1}, log_std.data());
  const auto result = ops::DiagonalGaussian(tape, m, s, actions);
  EXPECT_TRUE(std::isnan(result.log_probs.data()[0]));
  const Tensor masked = ops::Multiply(tape, result.log_probs, tape.Input({2}, mask.data()));
  tape.Backward(ops::Sum(tape, masked));
  EXPECT_EQ(m.gradient()[0], 0.0F);
  EXPECT_EQ(m.gradient()[1], -1.0F);
  EXPECT_EQ(s.gradient()[0], 0.0F);  // z^2 - 1.
}

TEST(GaussianTest, ExtremeDeviationsStayFinite) {
  const std::vector<float> mean = {0, 0}, log_std = {-1000, 1000}, actions = {0, 1};
  Tape tape;
  tape.Begin({});
  const auto result = ops::DiagonalGaussian(tape, tape.Input({1, 2}, mean.data()),
                                            tape.Input({2}, log_std.data()), actions);
  EXPECT_NEAR(result.log_probs.data()[0], -2 * kHalfLogTwoPi, 1e-4);
}

TEST(GaussianTest, BitsDependOnNoOtherRowAndNoThreads) {
  constexpr std::size_t kRows = 200, kWidth = 5;
  const std::vector<float> mean = AsFloats(Normal({kRows, kWidth}, 1).values),
                           log_std = AsFloats(Normal({kWidth}, 2).values),
                           actions = AsFloats(Normal({kRows, kWidth}, 3).values);
  const auto bits_of = [&](std::size_t begin, std::size_t rows, ThreadPool* pool) {
    Tape tape({.pool = pool});
    tape.Begin({});
    const Tensor m = tape.InputWithGradient({rows, kWidth}, mean.data() + begin * kWidth);
    const Tensor s = tape.InputWithGradient({kWidth}, log_std.data());
    const auto result = ops::DiagonalGaussian(
        tape, m, s, std::span(actions).subspan(begin * kWidth, rows * kWidth));
    tape.Backward(ops::Sum(tape, ops::Add(tape, result.log_probs, result.entropy)));
    std::vector<float> bits(result.log_probs.data(), result.log_probs.data() + rows);
    bits.insert(bits.end(), m.gradient(), m.gradient() + rows * kWidth);
    bits.insert(bits.end(), s.gradient(), s.gradient() + kWidth);
    return bits;
  };
  ThreadPool pool(3);
  const auto all = bits_of(0, kRows, nullptr);
  EXPECT_EQ(all, bits_of(0, kRows, &pool));
  for (std::size_t row = 0; row < kRows; ++row) {
    const auto alone = bits_of(row, 1, nullptr);
    ASSERT_EQ(alone[0], all[row]) << row;
    for (std::size_t i = 0; i < kWidth; ++i) {
      ASSERT_EQ(alone[1 + i], all[kRows + row * kWidth + i]) << row;
    }
  }
}

TEST(GaussianTest, NormalNumbersAgreeWithTheMathsLibrary) {
  for (std::uint32_t i = 0; i <= 100000; ++i) {
    const float turns = static_cast<float>(i) / 100000.0F;
    const auto got = kernels::SineAndCosineOfTurns(turns);
    const double angle = 2 * std::numbers::pi * static_cast<double>(turns);
    ASSERT_NEAR(got.sine, std::sin(angle), 2e-7) << turns;
    ASSERT_NEAR(got.cosine, std::cos(angle), 2e-7) << turns;
  }
  // The ends of the radius: ln of the smallest part, and of one that rounds to 1.
  EXPECT_NEAR(kernels::NormalPair(0, 0)[0], std::sqrt(66 * std::log(2.0)), 1e-5);
  EXPECT_EQ(kernels::NormalPair(0xFFFFFFFFU, 0)[0], 0.0F);
}

TEST(GaussianTest, SamplesHaveTheMomentsAndTheirOwnLogProbs) {
  constexpr std::size_t kRows = 20000, kWidth = 5;  // Not a multiple of a block's four.
  const std::vector<float> mean(kRows * kWidth, 1.0F), log_std(kWidth, std::log(2.0F));
  std::vector<RandomKey> keys;
  for (std::size_t i = 0; i < kRows; ++i) keys.push_back({.seed = 5, .lane = 1, .index = i});
  Tape tape({.inference = true});
  tape.Begin({});
  const Tensor m = tape.Input({kRows, kWidth}, mean.data()),
               s = tape.Input({kWidth}, log_std.data());
  std::vector<float> actions(kRows * kWidth), log_probs(kRows);
  ThreadPool pool(2);
  SampleGaussian(m, s, keys, actions, log_probs, &pool);
  double sums[kWidth][4] = {}, product = 0;
  for (std::size_t i = 0; i < actions.size(); ++i) {
    const double z = (static_cast<double>(actions[i]) - 1) / 2;
    double power = 1;
    for (double& sum : sums[i % kWidth]) sum += (power *= z) / kRows;
    if (i % kWidth != 0) product += z * (static_cast<double>(actions[i - 1]) - 1) / 2;
  }
  for (const auto& sum : sums) {  // Four standard deviations of each.
    EXPECT_NEAR(sum[0], 0, 0.029);
    EXPECT_NEAR(sum[1], 1, 0.04);
    EXPECT_NEAR(sum[2], 0, 0.11);
    EXPECT_NEAR(sum[3], 3, 0.28);
  }
  EXPECT_NEAR(product / (kRows * (kWidth - 1)), 0, 0.015);
  const auto told = ops::DiagonalGaussian(tape, m, s, actions);
  EXPECT_EQ(std::memcmp(told.log_probs.data(), log_probs.data(), kRows * sizeof(float)), 0);
  // A row alone draws what it draws among others; another lane draws something else.
  std::vector<float> alone(kWidth);
  const auto one = std::span(keys).subspan(77, 1);
  SampleGaussian(tape.Input({1, kWidth}, mean.data()), s, one, alone, {});
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), actions.begin() + 77 * kWidth));
  const std::vector<RandomKey> other = {{.seed = 5, .lane = 2, .index = 77}};
  SampleGaussian(tape.Input({1, kWidth}, mean.data()), s, other, alone, {});
  EXPECT_NE(alone[0], actions[77 * kWidth]);
}

TEST(GaussianTest, RefusesWhatDoesNotFit) {
  const std::vector<float> values(12);
  const std::vector<BFloat16> narrow(12);
  Tape tape;
  tape.Begin({});
  const Tensor mean = tape.Input({2, 3}, values.data());
  const std::span<const float> actions(values.data(), 6);
  EXPECT_THROW(ops::DiagonalGaussian(tape, mean, tape.Input({2}, values.data()), actions),
               ContractViolation);
  EXPECT_THROW(ops::DiagonalGaussian(tape, mean, tape.Input({1, 3}, values.data()), actions),
               ContractViolation);
  EXPECT_THROW(ops::DiagonalGaussian(tape, mean, tape.Input({3}, narrow.data()), actions),
               ContractViolation);
  EXPECT_THROW(ops::DiagonalGaussian(tape, mean, tape.Input({3}, values.data()), actions.first(5)),
               ContractViolation);
}

}  // namespace
}  // namespace muster
