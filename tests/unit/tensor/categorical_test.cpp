#include "tensor/kernels/categorical.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tests/support/limits.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::AsFloats;
using testing::CheckOp;
using testing::kInfinity;
using testing::kNan;
using testing::Normal;
using Values = std::vector<double>;
using ChoiceSizes = std::vector<std::size_t>;
using Actions = std::vector<std::int32_t>;

// log-probability + 0.7 entropy of each row.
Values InDouble(const Values& logits, const ChoiceSizes& sizes, const Actions& actions) {
  const std::size_t rows = actions.size() / sizes.size();
  Values result(rows);
  const double* x = logits.data();
  for (std::size_t i = 0; i < actions.size(); ++i) {
    const std::size_t size = sizes[i % sizes.size()];
    double sum = 0, entropy = 0;
    for (std::size_t c = 0; c < size; ++c) sum += std::exp(x[c]);
    for (std::size_t c = 0; c < size; ++c) {
      entropy -= std::exp(x[c]) / sum * (x[c] - std::log(sum));
    }
    result[i / sizes.size()] += x[actions[i]] - std::log(sum) + 0.7 * entropy;
    x += size;
  }
  return result;
}

Actions SomeActions(std::size_t rows, const ChoiceSizes& sizes) {
  Actions actions;
  for (std::size_t i = 0; i < rows * sizes.size(); ++i) {
    actions.push_back(static_cast<std::int32_t>(i * 7 % sizes[i % sizes.size()]));
  }
  return actions;
}

std::size_t SumOf(const ChoiceSizes& sizes) {
  std::size_t sum = 0;
  for (const std::size_t size : sizes) sum += size;
  return sum;
}

// Of logits {0, ln 3}: p = {1/4, 3/4}, entropy ln 4 - 3/4 ln 3.
TEST(CategoricalTest, MatchesHandWorkedExample) {
  const std::vector<float> logits = {0, std::log(3.0F)};
  const double entropy = std::log(4.0) - 0.75 * std::log(3.0);
  for (const bool of_entropy : {false, true}) {
    Tape tape;
    tape.Begin({});
    const Tensor x = tape.InputWithGradient({1, 2}, logits.data());
    const auto result = ops::Categorical(tape, x, Actions{1});
    EXPECT_NEAR(result.log_probs.data()[0], std::log(0.75), 1e-7);
    EXPECT_NEAR(result.entropy.data()[0], entropy, 1e-7);
    tape.Backward(ops::Sum(tape, of_entropy ? result.entropy : result.log_probs));
    const double slope = of_entropy ? -0.25 * (std::log(0.25) + entropy) : -0.25;
    EXPECT_NEAR(x.gradient()[0], slope, 1e-7);
    EXPECT_NEAR(x.gradient()[1], -slope, 1e-7);
  }
}

TEST(CategoricalTest, AgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const std::size_t rows : {0, 1, 3, 13}) {
    for (const ChoiceSizes& sizes : {ChoiceSizes{1}, {2}, {17}, {2, 3}, {5, 1, 8}, {300}}) {
      if (rows * SumOf(sizes) > 1000) continue;  // Its differences would take seconds.
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(SumOf(sizes)));
      const Actions actions = SomeActions(rows, sizes);
      CheckOp(
          [&](Tape& tape, const auto& in) {
            const auto result = ops::MultiCategorical(tape, in[0], sizes, actions);
            return ops::Add(tape, result.log_probs, ops::Scale(tape, result.entropy, 0.7F));
          },
          [&](const auto& in) { return InDouble(in[0], sizes, actions); },
          {Normal({rows, SumOf(sizes)}, ++seed, 2)}, {.f32 = 2e-5, .bf16 = 1e-2}, &pool);
    }
  }
}

// The second use adds to the gradient of the first.
TEST(CategoricalTest, GradientsOfTwoUsesAdd) {
  const Actions first = {0, 2}, second = {1, 1};
  CheckOp(
      [&](Tape& tape, const auto& in) {
        const auto a = ops::Categorical(tape, in[0], first);
        const auto b = ops::Categorical(tape, in[0], second);
        return ops::Add(tape, a.log_probs, b.entropy);
      },
      [&](const auto& in) {
        Values sum = InDouble(in[0], {3}, first), b = InDouble(in[0], {3}, second);
        for (std::size_t row = 0; row < 2; ++row) {
          const double* const x = in[0].data() + row * 3;
          const double log_sum = std::log(std::exp(x[0]) + std::exp(x[1]) + std::exp(x[2]));
          // 0.7 entropy of the first and 0.3 of the second are left over of b's 0.7.
          const double entropy = (b[row] - (x[second[row]] - log_sum)) / 0.7;
          sum[row] += 0.3 * entropy;
        }
        return sum;
      },
      {Normal({2, 3}, 5)}, {.f32 = 2e-5, .bf16 = 2e-2});
}

TEST(CategoricalTest, MaskedClassesHaveNoPart) {
  const std::vector<float> masked = {1, -kInfinity, 2}, plain = {1, 2};
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.InputWithGradient({1, 3}, masked.data());
  const auto result = ops::Categorical(tape, x, Actions{2});
  const auto without = ops::Categorical(tape, tape.Input({1, 2}, plain.data()), Actions{1});
  EXPECT_EQ(result.log_probs.data()[0], without.log_probs.data()[0]);
  EXPECT_EQ(result.entropy.data()[0], without.entropy.data()[0]);
  tape.Backward(ops::Sum(tape, ops::Add(tape, result.log_probs, result.entropy)));
  EXPECT_EQ(x.gradient()[1], 0.0F);
  EXPECT_TRUE(std::isfinite(x.gradient()[0]) && x.gradient()[0] != 0.0F);
  const auto taken = ops::Categorical(tape, x, Actions{1});
  EXPECT_EQ(taken.log_probs.data()[0], -kInfinity);
}

TEST(CategoricalTest, SurvivesLargeLogitsAndTellsNan) {
  const std::vector<float> logits = {1e30F,     -1e30F, 0, 1,          kNan,       2,
                                     kInfinity, 0,      0, -kInfinity, -kInfinity, -kInfinity};
  Tape tape;
  tape.Begin({});
  const auto result = ops::Categorical(tape, tape.Input({4, 3}, logits.data()), Actions(4));
  EXPECT_EQ(result.log_probs.data()[0], 0.0F);
  EXPECT_EQ(result.entropy.data()[0], 0.0F);
  for (std::size_t row = 1; row < 4; ++row) {
    EXPECT_TRUE(std::isnan(result.log_probs.data()[row])) << row;
    EXPECT_TRUE(std::isnan(result.entropy.data()[row])) << row;
  }
}

// NaN x 0 is NaN: a row that the loss masks out must not be multiplied.
TEST(CategoricalTest, ARowWithoutGradientPassesZeroOn) {
  const std::vector<float> logits = {kNan, 1, 0, 1}, mask = {0, 1};
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.InputWithGradient({2, 2}, logits.data());
  const auto result = ops::Categorical(tape, x, Actions{0, 0});
  const Tensor kept = ops::Multiply(tape, result.log_probs, tape.Input({2}, mask.data()));
  tape.Backward(ops::Sum(tape, kept));
  EXPECT_EQ(x.gradient()[0], 0.0F);
  EXPECT_EQ(x.gradient()[1], 0.0F);
  EXPECT_NEAR(x.gradient()[2], 0.7310586F, 1e-6F);
}

TEST(CategoricalTest, ARowsBitsDependOnNoOther) {
  constexpr std::size_t kRows = 1100;  // Several blocks of rows.
  const ChoiceSizes sizes = {3, 21};
  const std::vector<float> logits = AsFloats(Normal({kRows, 24}, 1, 2).values);
  const Actions actions = SomeActions(kRows, sizes);
  const auto bits_of = [&](std::size_t begin, std::size_t rows, ThreadPool* pool) {
    Tape tape({.pool = pool});
    tape.Begin({});
    const Tensor x = tape.InputWithGradient({rows, 24}, logits.data() + begin * 24);
    const auto result =
        ops::MultiCategorical(tape, x, sizes, std::span(actions).subspan(begin * 2, rows * 2));
    tape.Backward(ops::Sum(tape, ops::Add(tape, result.log_probs, result.entropy)));
    std::vector<std::vector<float>> bits;
    for (std::size_t row = 0; row < rows; ++row) {
      bits.push_back({x.gradient() + row * 24, x.gradient() + row * 24 + 24});
      bits.back().push_back(result.log_probs.data()[row]);
      bits.back().push_back(result.entropy.data()[row]);
    }
    return bits;
  };
  ThreadPool pool(3);
  const auto all = bits_of(0, kRows, &pool);
  for (std::size_t row = 0; row < kRows; ++row) {
    ASSERT_EQ(all[row], bits_of(row, 1, nullptr)[0]) << row;
  }
}

std::vector<RandomKey> Keys(std::size_t count, std::uint64_t seed) {
  std::vector<RandomKey> keys;
  for (std::size_t i = 0; i < count; ++i) {
    keys.push_back({.seed = seed, .lane = 3, .index = 1000 + i});
  }
  return keys;
}

TEST(CategoricalTest, SamplesComeAsOftenAsTheirProbability) {
  constexpr std::size_t kRows = 40000;
  const std::vector<float> row = {0, std::log(3.0F), -kInfinity, 1, 1, 1};
  std::vector<float> logits;
  for (std::size_t i = 0; i < kRows; ++i) logits.insert(logits.end(), row.begin(), row.end());
  Tape tape({.inference = true});
  tape.Begin({});
  const Tensor x = tape.Input({kRows, 6}, logits.data());
  const auto keys = Keys(kRows, 7);
  Actions actions(2 * kRows);
  std::vector<float> log_probs(kRows);
  const ChoiceSizes sizes = {3, 3};
  ThreadPool pool(2);
  SampleCategorical(x, sizes, keys, actions, log_probs, &pool);
  double counts[2][3] = {};
  for (std::size_t i = 0; i < 2 * kRows; ++i) ++counts[i % 2][actions[i]];
  const double wanted[2][3] = {{0.25, 0.75, 0}, {1 / 3.0, 1 / 3.0, 1 / 3.0}};
  for (std::size_t s = 0; s < 2; ++s) {
    for (std::size_t c = 0; c < 3; ++c) {  // Four standard deviations are 0.0095.
      EXPECT_NEAR(counts[s][c] / kRows, wanted[s][c], 0.0095) << s << " " << c;
    }
  }
  EXPECT_EQ(counts[0][2], 0);
  const auto told = ops::MultiCategorical(tape, x, sizes, actions);
  EXPECT_EQ(std::memcmp(told.log_probs.data(), log_probs.data(), kRows * sizeof(float)), 0);
}

TEST(CategoricalTest, ASampleDependsOnItsRowsKeyAlone) {
  const std::vector<float> logits = AsFloats(Normal({64, 9}, 4).values);
  const ChoiceSizes sizes = {4, 2, 3};
  Tape tape({.inference = true});
  tape.Begin({});
  const auto draw = [&](std::uint64_t seed, std::size_t begin, std::size_t count) {
    const auto keys = Keys(64, seed);
    Actions actions(count * 3);
    SampleCategorical(tape.Input({count, 9}, logits.data() + begin * 9), sizes,
                      std::span(keys).subspan(begin, count), actions, {});
    return actions;
  };
  const Actions all = draw(1, 0, 64);
  for (std::size_t row = 0; row < 64; ++row) {
    const Actions alone = draw(1, row, 1);
    ASSERT_TRUE(std::equal(alone.begin(), alone.end(), all.begin() + row * 3)) << row;
  }
  EXPECT_NE(all, draw(2, 0, 64));
}

TEST(CategoricalTest, ARowWithoutADistributionDrawsTheFirstClassAndTellsNan) {
  const std::vector<float> logits = {1, kNan, 2};
  Tape tape({.inference = true});
  tape.Begin({});
  Actions actions = {5};
  std::vector<float> log_probs(1);
  const auto keys = Keys(1, 1);
  SampleCategorical(tape.Input({1, 3}, logits.data()), ChoiceSizes{3}, keys, actions, log_probs);
  EXPECT_EQ(actions[0], 0);
  EXPECT_TRUE(std::isnan(log_probs[0]));
}

TEST(CategoricalTest, PicksTheFirstMostProbable) {
  const std::vector<BFloat16> logits = {BFloat16(1), BFloat16(3), BFloat16(3), BFloat16(2),
                                        BFloat16(-1)};
  Tape tape({.inference = true});
  tape.Begin({});
  Actions actions(2);
  CategoricalMode(tape.Input({1, 5}, logits.data()), ChoiceSizes{3, 2}, actions);
  EXPECT_EQ(actions, (Actions{1, 0}));
}

TEST(CategoricalTest, RefusesWhatDoesNotFit) {
  const std::vector<float> values(12);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({2, 3}, values.data());
  EXPECT_THROW(ops::Categorical(tape, x, Actions{0}), ContractViolation);
  EXPECT_THROW(ops::Categorical(tape, x, Actions{0, 3}), ContractViolation);
  EXPECT_THROW(ops::Categorical(tape, x, Actions{0, -1}), ContractViolation);
  EXPECT_THROW(ops::MultiCategorical(tape, x, ChoiceSizes{2, 2}, Actions(4)), ContractViolation);
  EXPECT_THROW(ops::MultiCategorical(tape, x, ChoiceSizes{3, 0}, Actions(4)), ContractViolation);
  // In the second categorical's range, not in the first's.
  EXPECT_THROW(ops::MultiCategorical(tape, x, ChoiceSizes{1, 2}, Actions{1, 0, 0, 0}),
               ContractViolation);
  const auto keys = Keys(1, 1);
  Actions actions(2);
  EXPECT_THROW(SampleCategorical(x, ChoiceSizes{3}, keys, actions, {}), ContractViolation);
}

}  // namespace
}  // namespace muster
