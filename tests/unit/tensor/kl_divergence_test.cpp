#include "tensor/kernels/kl_divergence.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/check.h"
#include "tests/support/limits.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using ops::KlEstimator;
using testing::CheckOp;
using testing::kNan;
using testing::Normal;
using Values = std::vector<double>;
using Floats = std::vector<float>;

constexpr KlEstimator kEstimators[] = {KlEstimator::kK1, KlEstimator::kK2, KlEstimator::kK3};

double InDouble(KlEstimator estimator, double x) {
  if (estimator == KlEstimator::kK1) return -x;
  return estimator == KlEstimator::kK2 ? x * x / 2 : std::expm1(x) - x;
}

// A policy twice as sure as the reference: x = -ln 2.
TEST(KlDivergenceTest, MatchesHandWorkedExample) {
  const Floats policy = {std::log(0.5F)}, reference = {std::log(0.25F)};
  const double ln2 = std::log(2.0);
  const double values[] = {ln2, ln2 * ln2 / 2, ln2 - 0.5}, slopes[] = {1, ln2, 0.5};
  for (std::size_t i = 0; i < 3; ++i) {
    Tape tape;
    tape.Begin({});
    const Tensor x = tape.InputWithGradient({1}, policy.data());
    const auto result = ops::KlLoss(tape, x, reference, {}, kEstimators[i], 3.0F);
    EXPECT_NEAR(result.score.kl_sum, values[i], 1e-7);
    EXPECT_NEAR(*result.loss.data(), 3 * values[i], 3e-7);
    EXPECT_EQ(result.score.weight_sum, 1);
    tape.Backward(result.loss);
    EXPECT_NEAR(*x.gradient(), 3 * slopes[i], 1e-6);
  }
}

TEST(KlDivergenceTest, AgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const KlEstimator estimator : kEstimators) {
    for (const Shape& shape : {Shape{0}, Shape{1}, Shape{7}, Shape{3, 41}}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(estimator)) + " " + shape.ToString());
      const auto sample = Normal(shape, ++seed).values;
      const Floats reference(sample.begin(), sample.end());
      Floats weights;
      for (std::size_t i = 0; i < reference.size(); ++i) weights.push_back(i % 3 == 1 ? 0 : 0.75F);
      const auto x = Normal(shape, ++seed);
      CheckOp([&](Tape& tape,
                  const auto& in) { return ops::KlEstimates(tape, in[0], reference, estimator); },
              [&](const auto& in) {
                Values y;
                for (std::size_t i = 0; i < reference.size(); ++i) {
                  y.push_back(InDouble(estimator, static_cast<double>(reference[i]) - in[0][i]));
                }
                return y;
              },
              {x}, {.f32 = 2e-5, .bf16 = 1e-2}, &pool);
      CheckOp(
          [&](Tape& tape, const auto& in) {
            return ops::KlLoss(tape, in[0], reference, weights, estimator, 0.5F).loss;
          },
          [&](const auto& in) {
            double sum = 0;
            for (std::size_t i = 0; i < reference.size(); ++i) {
              sum += static_cast<double>(weights[i]) *
                     InDouble(estimator, static_cast<double>(reference[i]) - in[0][i]);
            }
            return Values{0.5 * sum};
          },
          {x}, {.f32 = 2e-5, .bf16 = 1e-2}, &pool);
    }
  }
}

// The second use adds to the gradient of the first.
TEST(KlDivergenceTest, GradientsOfTwoUsesAdd) {
  const Floats reference = {0.5F, -1, 2};
  CheckOp(
      [&](Tape& tape, const auto& in) {
        return ops::Add(tape, ops::KlEstimates(tape, in[0], reference, KlEstimator::kK2),
                        ops::KlEstimates(tape, in[0], reference, KlEstimator::kK3));
      },
      [&](const auto& in) {
        Values y;
        for (std::size_t i = 0; i < 3; ++i) {
          const double x = static_cast<double>(reference[i]) - in[0][i];
          y.push_back(InDouble(KlEstimator::kK2, x) + InDouble(KlEstimator::kK3, x));
        }
        return y;
      },
      {Normal({3}, 3)}, {.f32 = 2e-5, .bf16 = 2e-2});
}

// Over a whole distribution, weighted by the policy's probabilities: k1 and k3 give the divergence.
TEST(KlDivergenceTest, TheUnbiasedOnesGiveTheDivergence) {
  const Values p = {0.5, 0.3, 0.2}, q = {0.2, 0.2, 0.6};
  Floats log_p, log_q, weights;
  double divergence = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    log_p.push_back(static_cast<float>(std::log(p[i])));
    log_q.push_back(static_cast<float>(std::log(q[i])));
    weights.push_back(static_cast<float>(p[i]));
    divergence += p[i] * std::log(p[i] / q[i]);
  }
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({3}, log_p.data());
  for (const KlEstimator estimator : {KlEstimator::kK1, KlEstimator::kK3}) {
    EXPECT_NEAR(ops::KlLoss(tape, x, log_q, weights, estimator, 1.0F).score.kl_sum, divergence,
                1e-6);
  }
}

TEST(KlDivergenceTest, K3StaysFiniteAndKeepsItsSlopeWhereThePolicyIsFarTooSure) {
  const Floats policy = {-1000, 0}, reference = {0, -1000};
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.InputWithGradient({2}, policy.data());
  const Tensor y = ops::KlEstimates(tape, x, reference, KlEstimator::kK3);
  EXPECT_NEAR(y.data()[0], std::exp(20.0), 200);
  EXPECT_EQ(y.data()[1], 999.0F);
  tape.Backward(ops::Sum(tape, y));
  EXPECT_EQ(x.gradient()[0], 0.0F);
  EXPECT_EQ(x.gradient()[1], 1.0F);
}

TEST(KlDivergenceTest, MasksNanAndPassesItOn) {
  const Floats policy = {kNan, -1}, reference = {-1, -2}, masked = {0, 1};
  for (const KlEstimator estimator : kEstimators) {
    Tape tape;
    tape.Begin({});
    const Tensor x = tape.InputWithGradient({2}, policy.data());
    EXPECT_TRUE(std::isnan(ops::KlEstimates(tape, x, reference, estimator).data()[0]));
    EXPECT_TRUE(std::isnan(ops::KlLoss(tape, x, reference, {}, estimator, 1).score.kl_sum));
    const auto hidden = ops::KlLoss(tape, x, reference, masked, estimator, 1);
    EXPECT_NEAR(hidden.score.kl_sum, InDouble(estimator, -1), 1e-6);
    tape.Backward(hidden.loss);
    EXPECT_EQ(x.gradient()[0], 0.0F);
    EXPECT_NE(x.gradient()[1], 0.0F);
  }
}

TEST(KlDivergenceTest, RefusesWhatDoesNotFit) {
  const Floats four(4), three(3);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({4}, four.data());
  EXPECT_THROW(ops::KlEstimates(tape, x, three, KlEstimator::kK1), ContractViolation);
  EXPECT_THROW(ops::KlLoss(tape, x, three, {}, KlEstimator::kK2, 1), ContractViolation);
  EXPECT_THROW(ops::KlLoss(tape, x, four, three, KlEstimator::kK3, 1), ContractViolation);
}

}  // namespace
}  // namespace muster
