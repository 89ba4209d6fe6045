#include "tensor/kernels/softmax_cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/check.h"
#include "tests/support/gradient_check.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

// Equal logits over two classes: each row loses ln 2.
TEST(SoftmaxCrossEntropyTest, MatchesHandWorkedExample) {
  const std::vector<float> logits = {3, 3, -1, -1};
  const std::vector<std::int32_t> targets = {0, 1};
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.InputWithGradient({2, 2}, logits.data());
  const auto result = ops::SoftmaxCrossEntropy(tape, input, targets, 0.25F);
  EXPECT_NEAR(result.score.loss_sum, 2.0 * std::log(2.0), 1e-6);
  EXPECT_EQ(result.score.correct, 1U);  // Ties go to the first class.
  EXPECT_NEAR(*result.loss.data(), 0.5F * std::log(2.0F), 1e-6F);
  tape.Backward(result.loss);
  const std::vector<float> expected = {-0.125F, 0.125F, 0.125F, -0.125F};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(input.gradient()[i], expected[i]);
}

TEST(SoftmaxCrossEntropyTest, GradientAgreesWithFiniteDifferences) {
  const std::vector<std::int32_t> targets = {0, 4, 2, 2};
  testing::CheckGradient(
      [&](Tape& tape, const std::vector<Tensor>& in) {
        return ops::SoftmaxCrossEntropy(tape, in[0], targets, 0.5F).loss;
      },
      {testing::RandomInput({4, 5}, 1, 2.0F)});
}

TEST(SoftmaxCrossEntropyTest, AgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  for (const std::size_t rows : {0, 1, 3, 13}) {
    for (const std::size_t classes : {1, 2, 7, 37}) {
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(classes));
      const auto targets = testing::RandomIndices(rows, classes, ++seed);
      testing::CheckOp(
          [&](Tape& tape, const auto& in) {
            return ops::SoftmaxCrossEntropy(tape, in[0], targets, 0.25F).loss;
          },
          [&](const auto& in) {
            double loss = 0;
            for (std::size_t row = 0; row < rows; ++row) {
              const double* const x = in[0].data() + row * classes;
              double sum = 0;
              for (std::size_t c = 0; c < classes; ++c) sum += std::exp(x[c]);
              loss += 0.25 * (std::log(sum) - x[targets[row]]);
            }
            return std::vector<double>{loss};
          },
          {testing::Normal({rows, classes}, ++seed, 2)}, {.f32 = 2e-5, .bf16 = 1e-2});
    }
  }
}

TEST(SoftmaxCrossEntropyTest, SurvivesLargeLogitsAndTellsNan) {
  std::vector<float> logits = {1e4F, -1e4F, 0, 0};
  const std::vector<std::int32_t> targets = {1, 0};
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.Input({2, 2}, logits.data());
  EXPECT_NEAR(ScoreClassification(input, targets).loss_sum, 2e4 + std::log(2.0), 1e-2);
  logits[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(ScoreClassification(input, targets).loss_sum));
}

TEST(SoftmaxCrossEntropyTest, ScoresAndPicksWithoutATape) {
  const std::vector<float> logits = {1, 2, 3, 9, 0, 9};
  const std::vector<std::int32_t> targets = {2, 1};
  Tape tape({.inference = true});
  tape.Begin({});
  const Tensor input = tape.Input({2, 3}, logits.data());
  const auto with = ops::SoftmaxCrossEntropy(tape, input, targets, 1.0F).score;
  const auto without = ScoreClassification(input, targets);
  EXPECT_EQ(with.loss_sum, without.loss_sum);
  EXPECT_EQ(with.correct, 1U);
  EXPECT_EQ(without.correct, 1U);
  std::vector<std::int32_t> classes(2);
  ArgMax(input, classes);
  EXPECT_EQ(classes, (std::vector<std::int32_t>{2, 0}));
}

TEST(SoftmaxCrossEntropyTest, RefusesTargetsOutOfRange) {
  const std::vector<float> logits(4);
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.Input({2, 2}, logits.data());
  for (const std::int32_t bad : {-1, 2}) {
    const std::vector<std::int32_t> targets = {0, bad};
    EXPECT_THROW(ScoreClassification(input, targets), ContractViolation);
  }
  EXPECT_THROW(ScoreClassification(input, std::vector<std::int32_t>{0}), ContractViolation);
}

}  // namespace
}  // namespace muster
