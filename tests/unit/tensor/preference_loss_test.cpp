#include "tensor/kernels/preference_loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/check.h"
#include "tests/support/limits.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::kInfinity;
using testing::kNan;
using testing::Normal;
using testing::NormalFloats;
using Values = std::vector<double>;
using Floats = std::vector<float>;

double MinusLogSigmoid(double x) { return std::log1p(std::exp(-x)); }

TEST(PreferenceLossTest, MatchesHandWorkedBradleyTerry) {
  const Floats chosen = {1, 2}, rejected = {1, 1}, margins = {0, 1};
  Tape tape;
  tape.Begin({});
  const Tensor a = tape.InputWithGradient({2}, chosen.data());
  const Tensor b = tape.InputWithGradient({2}, rejected.data());
  const auto result = ops::BradleyTerryLoss(tape, a, b, margins, 0.5F);
  EXPECT_NEAR(result.score.loss_sum, 2 * std::log(2.0), 1e-6);  // Both leads are 0.
  EXPECT_NEAR(*result.loss.data(), std::log(2.0), 1e-6);
  EXPECT_EQ(result.score.correct_sum, 1);  // Of the tie and the larger one.
  EXPECT_EQ(result.score.chosen_reward_sum, 3);
  EXPECT_EQ(result.score.rejected_reward_sum, 2);
  tape.Backward(result.loss);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(a.gradient()[i], -0.25F);
    EXPECT_EQ(b.gradient()[i], 0.25F);
  }
}

// h = (-1 + 3) - (-4 + 2) = 4, rewards 2 beta and -2 beta.
TEST(PreferenceLossTest, MatchesHandWorkedDpoAndIpo) {
  const Floats chosen = {-1}, rejected = {-4}, old_chosen = {-3}, old_rejected = {-2};
  Tape tape;
  tape.Begin({});
  const Tensor a = tape.InputWithGradient({1}, chosen.data());
  const Tensor b = tape.InputWithGradient({1}, rejected.data());
  const ops::ReferenceLogProbs reference{old_chosen, old_rejected};
  const auto dpo = ops::DpoLoss(tape, a, b, reference, {.beta = 0.5F}, 1);
  EXPECT_NEAR(dpo.score.loss_sum, MinusLogSigmoid(2), 1e-6);
  EXPECT_EQ(dpo.score.chosen_reward_sum, 1);
  EXPECT_EQ(dpo.score.rejected_reward_sum, -1);
  EXPECT_EQ(dpo.score.correct_sum, 1);
  const auto smooth =
      ops::DpoLoss(tape, a, b, reference, {.beta = 0.5F, .label_smoothing = 0.1F}, 1);
  EXPECT_NEAR(smooth.score.loss_sum, 0.9 * MinusLogSigmoid(2) + 0.1 * MinusLogSigmoid(-2), 1e-6);
  const auto ipo = ops::IpoLoss(tape, a, b, reference, 0.5F, 1);
  EXPECT_EQ(ipo.score.loss_sum, 9);  // (4 - 1)^2.
  tape.Backward(ipo.loss);
  EXPECT_EQ(*a.gradient(), 6.0F);
  EXPECT_EQ(*b.gradient(), -6.0F);
}

TEST(PreferenceLossTest, AgreesWithDoubleForAnyCount) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const std::size_t count : {0, 1, 7, 131}) {
    SCOPED_TRACE(count);
    const Floats margins = NormalFloats(count, ++seed), old_chosen = NormalFloats(count, ++seed, 3),
                 old_rejected = NormalFloats(count, ++seed, 3);
    const ops::ReferenceLogProbs reference{old_chosen, old_rejected};
    const std::vector<testing::OpInput> inputs = {Normal({count}, ++seed, 3),
                                                  Normal({count}, ++seed, 3)};
    // scale 1/4 times the sum of loss(i, chosen, rejected).
    const auto check = [&](const testing::Op& op, const auto& loss) {
      CheckOp(
          op,
          [&](const auto& in) {
            double sum = 0;
            for (std::size_t i = 0; i < count; ++i) sum += loss(i, in[0][i], in[1][i]);
            return Values{sum / 4};
          },
          inputs, {.f32 = 3e-5, .bf16 = 1e-2}, &pool);
    };
    const auto h = [&](std::size_t i, double a, double b) {
      return a - static_cast<double>(old_chosen[i]) - (b - static_cast<double>(old_rejected[i]));
    };
    check(
        [&](Tape& tape, const auto& in) {
          return ops::BradleyTerryLoss(tape, in[0], in[1], margins, 0.25F).loss;
        },
        [&](std::size_t i, double a, double b) {
          return MinusLogSigmoid(a - b - static_cast<double>(margins[i]));
        });
    for (const float smoothing : {0.0F, 0.125F}) {
      check(
          [&](Tape& tape, const auto& in) {
            return ops::DpoLoss(tape, in[0], in[1], reference, {0.5F, smoothing}, 0.25F).loss;
          },
          [&](std::size_t i, double a, double b) {
            const double u = 0.5 * h(i, a, b), wrong = static_cast<double>(smoothing);
            return (1 - wrong) * MinusLogSigmoid(u) + wrong * MinusLogSigmoid(-u);
          });
    }
    check(
        [&](Tape& tape, const auto& in) {
          return ops::IpoLoss(tape, in[0], in[1], reference, 0.25F, 0.25F).loss;
        },
        [&](std::size_t i, double a, double b) { return std::pow(h(i, a, b) - 2, 2); });
  }
}

TEST(PreferenceLossTest, LargeLeadsNeitherOverflowNorVanish) {
  const Floats chosen = {1e4F, -1e4F, kInfinity}, rejected = {-1e4F, 1e4F, 0};
  Tape tape;
  tape.Begin({});
  const Tensor a = tape.InputWithGradient({3}, chosen.data());
  const Tensor b = tape.InputWithGradient({3}, rejected.data());
  const auto result = ops::BradleyTerryLoss(tape, a, b, {}, 1);
  EXPECT_EQ(result.score.loss_sum, 2e4);
  const Floats zeros(3);
  EXPECT_EQ(ops::DpoLoss(tape, a, b, {zeros, zeros}, {.beta = 0.5F}, 1).score.loss_sum, 1e4);
  tape.Backward(result.loss);
  EXPECT_EQ(a.gradient()[0], 0.0F);
  EXPECT_EQ(a.gradient()[1], -1.0F);
  EXPECT_EQ(a.gradient()[2], 0.0F);
}

TEST(PreferenceLossTest, PassesNanOn) {
  const Floats chosen = {kNan, 1}, rejected = {0, 0};
  Tape tape;
  tape.Begin({});
  const Tensor a = tape.InputWithGradient({2}, chosen.data());
  const Tensor b = tape.InputWithGradient({2}, rejected.data());
  const auto result = ops::BradleyTerryLoss(tape, a, b, {}, 1);
  EXPECT_TRUE(std::isnan(*result.loss.data()));
  EXPECT_TRUE(std::isnan(ops::IpoLoss(tape, a, b, {rejected, rejected}, 1, 1).score.loss_sum));
  tape.Backward(result.loss);
  EXPECT_TRUE(std::isnan(a.gradient()[0]) && std::isnan(b.gradient()[0]));
  EXPECT_FALSE(std::isnan(a.gradient()[1]));
}

TEST(PreferenceLossTest, RefusesWhatDoesNotFit) {
  const Floats four(4), three(3);
  const std::vector<BFloat16> narrow(4);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({4}, four.data());
  EXPECT_THROW(ops::BradleyTerryLoss(tape, x, tape.Input({3}, three.data()), {}, 1),
               ContractViolation);
  EXPECT_THROW(ops::BradleyTerryLoss(tape, x, tape.Input({4}, narrow.data()), {}, 1),
               ContractViolation);
  EXPECT_THROW(ops::BradleyTerryLoss(tape, x, x, three, 1), ContractViolation);
  EXPECT_THROW(ops::DpoLoss(tape, x, x, {four, three}, {}, 1), ContractViolation);
  EXPECT_THROW(ops::DpoLoss(tape, x, x, {four, four}, {.beta = 0}, 1), ContractViolation);
  EXPECT_THROW(ops::DpoLoss(tape, x, x, {four, four}, {.label_smoothing = 0.5F}, 1),
               ContractViolation);
  EXPECT_THROW(ops::IpoLoss(tape, x, x, {four, four}, -1, 1), ContractViolation);
}

}  // namespace
}  // namespace muster
