#include "tensor/kernels/ppo_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/kernels/fused_loss.h"
#include "tests/support/limits.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::kNan;
using testing::Normal;
using testing::NormalFloats;
using Values = std::vector<double>;
using Floats = std::vector<float>;

// Every third is masked out.
Floats Weights(std::size_t count) {
  Floats weights;
  for (std::size_t i = 0; i < count; ++i) weights.push_back(i % 3 == 1 ? 0.0F : 0.5F);
  return weights;
}

double Clamp(double x, double low, double high) { return std::min(std::max(x, low), high); }

double SurrogateInDouble(const Values& log_probs, const ops::PpoSamples& samples,
                         ops::PpoClip clip) {
  double sum = 0;
  for (std::size_t i = 0; i < log_probs.size(); ++i) {
    const auto advantage = static_cast<double>(samples.advantages[i]);
    const double ratio = std::exp(log_probs[i] - static_cast<double>(samples.old_log_probs[i]));
    const double clipped =
        Clamp(ratio, 1 - static_cast<double>(clip.low), 1 + static_cast<double>(clip.high));
    const double weight = samples.weights.empty() ? 1 : static_cast<double>(samples.weights[i]);
    sum -= weight * std::min(ratio * advantage, clipped * advantage);
  }
  return sum;
}

// Ratios 1.5 and 0.5, each with a good and a bad advantage: the clip holds only what would go on
// in the direction it has gone.
TEST(PpoLossTest, MatchesHandWorkedSurrogate) {
  const Floats news = {std::log(1.5F), std::log(0.5F), std::log(1.5F), std::log(0.5F)};
  const Floats olds(4), advantages = {2, 2, -2, -2};
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.InputWithGradient({4}, news.data());
  const auto result = ops::ClippedSurrogate(tape, x, {olds, advantages, {}}, {}, 0.25F);
  EXPECT_NEAR(result.score.loss_sum, -2.4 - 1.0 + 3.0 + 1.6, 1e-6);
  EXPECT_NEAR(*result.loss.data(), 0.3, 1e-6);
  EXPECT_EQ(result.score.weight_sum, 4);
  EXPECT_EQ(result.score.clipped_sum, 4);
  EXPECT_NEAR(result.score.ratio_sum, 4, 1e-6);
  EXPECT_NEAR(result.score.kl_k1_sum, -2 * std::log(0.75), 1e-6);
  EXPECT_NEAR(result.score.kl_k3_sum, -2 * std::log(0.75), 1e-6);  // The ratios add to the count.
  tape.Backward(result.loss);
  const Floats wanted = {0, -0.25F, 0.75F, 0};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(x.gradient()[i], wanted[i], 1e-6F) << i;
}

TEST(PpoLossTest, SurrogateAgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const std::size_t count : {0, 1, 7, 64, 131}) {
    for (const bool weighted : {false, true}) {
      SCOPED_TRACE(count);
      const Floats olds = NormalFloats(count, ++seed, 0.5, -2),
                   advantages = NormalFloats(count, ++seed);
      const Floats weights = weighted ? Weights(count) : Floats();
      const ops::PpoSamples samples{olds, advantages, weights};
      const ops::PpoClip clip{.low = 0.15F, .high = 0.3F};
      CheckOp(
          [&](Tape& tape, const auto& in) {
            return ops::ClippedSurrogate(tape, in[0], samples, clip, 0.125F).loss;
          },
          [&](const auto& in) { return Values{0.125 * SurrogateInDouble(in[0], samples, clip)}; },
          {Normal({count}, ++seed, 0.5, -2)}, {.f32 = 2e-5, .bf16 = 1e-2}, &pool);
    }
  }
}

// The same policy: ratio 1 exactly, no divergence, and the gradient of the plain policy gradient.
TEST(PpoLossTest, TheFirstEpochHasRatioOne) {
  const Floats olds = NormalFloats(100, 3, 1, -3), advantages = NormalFloats(100, 4);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.InputWithGradient({100}, olds.data());
  const auto result = ops::ClippedSurrogate(tape, x, {olds, advantages, {}}, {}, 1.0F);
  EXPECT_EQ(result.score.ratio_sum, 100);
  EXPECT_EQ(result.score.kl_k1_sum, 0);
  EXPECT_EQ(result.score.kl_k3_sum, 0);
  EXPECT_EQ(result.score.clipped_sum, 0);
  tape.Backward(result.loss);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(x.gradient()[i], -advantages[i]);
}

TEST(PpoLossTest, MasksNanAndPassesItOn) {
  const Floats news = {kNan, 0, -1}, olds = {0, kNan, -1}, advantages = {1, kNan, 2};
  const Floats masked = {0, 0, 1}, open = {0, 1, 1};
  for (const bool hidden : {true, false}) {
    Tape tape;
    tape.Begin({});
    const Tensor x = tape.InputWithGradient({3}, news.data());
    const auto result =
        ops::ClippedSurrogate(tape, x, {olds, advantages, hidden ? masked : open}, {}, 1.0F);
    EXPECT_EQ(std::isnan(*result.loss.data()), !hidden);
    EXPECT_EQ(std::isnan(result.score.kl_k3_sum), !hidden);
    tape.Backward(result.loss);
    EXPECT_EQ(x.gradient()[0], 0.0F);
    EXPECT_EQ(std::isnan(x.gradient()[1]), !hidden);
    EXPECT_EQ(x.gradient()[2], -2.0F);
  }
}

TEST(PpoLossTest, AHugeRatioStaysFinite) {
  const Floats news = {0, -1000}, olds = {-1000, 0}, advantages = {-1, -1};
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.InputWithGradient({2}, news.data());
  const auto result = ops::ClippedSurrogate(tape, x, {olds, advantages, {}}, {}, 1.0F);
  EXPECT_NEAR(result.score.loss_sum, std::exp(20.0) + 0.8, 200);
  EXPECT_TRUE(std::isfinite(result.score.kl_k3_sum));
  tape.Backward(result.loss);
  EXPECT_EQ(x.gradient()[0], 0.0F);
  EXPECT_EQ(x.gradient()[1], 0.0F);
}

TEST(PpoLossTest, TheDivergenceTermIsExactNearZero) {
  for (int i = -40000; i <= 20000; ++i) {
    const float x = static_cast<float>(i) * 1e-3F + 1e-5F;
    const auto exact = static_cast<double>(x);
    const double wanted = std::expm1(exact) - exact;
    // Below 1e-3 expm1(x) - x itself loses digits.
    const double series = exact * exact * (0.5 + exact / 6);
    ASSERT_NEAR(static_cast<double>(kernels::ExpMinus1MinusX(x)),
                std::abs(exact) < 1e-3 ? series : wanted, 5e-6 * wanted + 1e-18)
        << x;
  }
  EXPECT_EQ(kernels::ExpMinus1MinusX(0.0F), 0.0F);
}

TEST(PpoLossTest, BitsDependOnNoThreadsAndLanesAdd) {
  constexpr std::size_t kCount = 50000;  // Four blocks.
  const Floats news = NormalFloats(kCount, 1), olds = NormalFloats(kCount, 2),
               advantages = NormalFloats(kCount, 3);
  const auto run = [&](std::size_t begin, std::size_t count, ThreadPool* pool,
                       Floats* gradient = nullptr) {
    Tape tape({.pool = pool});
    tape.Begin({});
    const Tensor x = tape.InputWithGradient({count}, news.data() + begin);
    const auto part = [&](const Floats& all) { return std::span(all).subspan(begin, count); };
    const auto result =
        ops::ClippedSurrogate(tape, x, {part(olds), part(advantages), {}}, {}, 1.0F);
    tape.Backward(result.loss);
    if (gradient != nullptr) gradient->assign(x.gradient(), x.gradient() + count);
    return result.score;
  };
  ThreadPool pool(3);
  Floats one, three;
  const auto alone = run(0, kCount, nullptr, &one), shared = run(0, kCount, &pool, &three);
  EXPECT_EQ(alone.loss_sum, shared.loss_sum);
  EXPECT_EQ(alone.kl_k3_sum, shared.kl_k3_sum);
  EXPECT_EQ(one, three);
  const auto first = run(0, 1234, nullptr), rest = run(1234, kCount - 1234, nullptr);
  EXPECT_NEAR(first.loss_sum + rest.loss_sum, alone.loss_sum, 1e-6);
  EXPECT_EQ(first.clipped_sum + rest.clipped_sum, alone.clipped_sum);
}

// (1 - 3)^2 / 2 = 2. Held to 0.5 + 0.2: 2.3^2 / 2 = 2.645 is larger. Moved away from the target,
// 0.5 - 0.2 held is better than 0 and so not taken.
TEST(PpoLossTest, MatchesHandWorkedValueLosses) {
  const Floats values = {1, 0}, olds = {0.5F, 0.5F}, targets = {3, 3};
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.InputWithGradient({2}, values.data());
  const auto plain = ops::ValueLoss(tape, x, targets, {}, 0.5F);
  EXPECT_NEAR(plain.score.loss_sum, 2 + 4.5, 1e-6);
  const auto clipped = ops::ClippedValueLoss(tape, x, {olds, targets, {}}, 0.2F, 0.5F);
  EXPECT_NEAR(clipped.score.loss_sum, 2.645 + 4.5, 1e-6);
  EXPECT_EQ(clipped.score.clipped_sum, 1);
  EXPECT_EQ(clipped.score.weight_sum, 2);
  tape.Backward(clipped.loss);
  EXPECT_EQ(x.gradient()[0], 0.0F);
  EXPECT_EQ(x.gradient()[1], -1.5F);
}

TEST(PpoLossTest, ValueLossesAgreeWithDoubleInAnyShape) {
  unsigned seed = 50;
  for (const std::size_t count : {0, 1, 7, 64, 131}) {
    SCOPED_TRACE(count);
    const Floats olds = NormalFloats(count, ++seed), targets = NormalFloats(count, ++seed);
    const Floats weights = Weights(count);
    for (const bool clipped : {false, true}) {
      CheckOp(
          [&](Tape& tape, const auto& in) {
            if (!clipped) return ops::ValueLoss(tape, in[0], targets, weights, 0.5F).loss;
            return ops::ClippedValueLoss(tape, in[0], {olds, targets, weights}, 0.4F, 0.5F).loss;
          },
          [&](const auto& in) {
            double sum = 0;
            for (std::size_t i = 0; i < count; ++i) {
              const auto target = static_cast<double>(targets[i]);
              const auto old = static_cast<double>(olds[i]);
              const double held = old + Clamp(in[0][i] - old, -0.4, 0.4);
              double square = (in[0][i] - target) * (in[0][i] - target);
              if (clipped) square = std::max(square, (held - target) * (held - target));
              sum += static_cast<double>(weights[i]) * square / 2;
            }
            return Values{0.5 * sum};
          },
          {Normal({count}, ++seed)}, {.f32 = 2e-5, .bf16 = 1e-2});
    }
  }
}

// The second use adds to the gradient of the first.
TEST(PpoLossTest, GradientsOfTwoUsesAdd) {
  const Floats targets = NormalFloats(7, 1), others = NormalFloats(7, 2);
  CheckOp(
      [&](Tape& tape, const auto& in) {
        return ops::Add(tape, ops::ValueLoss(tape, in[0], targets, {}, 1.0F).loss,
                        ops::ValueLoss(tape, in[0], others, {}, 0.5F).loss);
      },
      [&](const auto& in) {
        double sum = 0;
        for (std::size_t i = 0; i < 7; ++i) {
          sum += std::pow(in[0][i] - static_cast<double>(targets[i]), 2) / 2 +
                 std::pow(in[0][i] - static_cast<double>(others[i]), 2) / 4;
        }
        return Values{sum};
      },
      {Normal({7}, 3)}, {.f32 = 2e-5, .bf16 = 1e-2});
}

TEST(PpoLossTest, ValueLossesMaskNanAndPassItOn) {
  const Floats values = {kNan, 1, 1}, olds = {0, kNan, 1}, targets = {0, 2, 2};
  for (const std::size_t open : {0, 1}) {
    Floats weights = {0, 0, 1};
    weights[open] = 1;
    Tape tape;
    tape.Begin({});
    const Tensor x = tape.InputWithGradient({3}, values.data());
    const auto clipped = ops::ClippedValueLoss(tape, x, {olds, targets, weights}, 0.2F, 1.0F);
    EXPECT_TRUE(std::isnan(*clipped.loss.data()));
    EXPECT_EQ(std::isnan(*ops::ValueLoss(tape, x, targets, weights, 1.0F).loss.data()), open == 0);
    tape.Backward(clipped.loss);
    EXPECT_TRUE(std::isnan(x.gradient()[open]));
    EXPECT_EQ(x.gradient()[1 - open], 0.0F);
    EXPECT_EQ(x.gradient()[2], -1.0F);
  }
}

TEST(PpoLossTest, RefusesWhatDoesNotFit) {
  const Floats four(4), three(3);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({4}, four.data());
  EXPECT_THROW(ops::ClippedSurrogate(tape, x, {three, four, {}}, {}, 1.0F), ContractViolation);
  EXPECT_THROW(ops::ClippedSurrogate(tape, x, {four, three, {}}, {}, 1.0F), ContractViolation);
  EXPECT_THROW(ops::ClippedSurrogate(tape, x, {four, four, three}, {}, 1.0F), ContractViolation);
  EXPECT_THROW(ops::ClippedSurrogate(tape, x, {four, four, {}}, {.low = -0.1F}, 1.0F),
               ContractViolation);
  EXPECT_THROW(ops::ValueLoss(tape, x, three, {}, 1.0F), ContractViolation);
  EXPECT_THROW(ops::ClippedValueLoss(tape, x, {three, four, {}}, 0.2F, 1.0F), ContractViolation);
  EXPECT_THROW(ops::ClippedValueLoss(tape, x, {four, four, {}}, -1.0F, 1.0F), ContractViolation);
}

}  // namespace
}  // namespace muster
