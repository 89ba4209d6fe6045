#include "tensor/kernels/state_dependent_noise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/check.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/gaussian.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::NormalFloats;

constexpr std::size_t kRows = 7, kFeatures = 5, kActions = 3;

struct Explorer {
  std::vector<float> x = NormalFloats(kRows * kFeatures, 1);
  std::vector<float> log_std = NormalFloats(kFeatures * kActions, 2, 0.5);
  std::vector<float> mean = NormalFloats(kRows * kActions, 3);

  // ln(sum of x^2 e^(2 s) + 1e-6) / 2, in double.
  double LogStd(std::size_t row, std::size_t action) const {
    double variance = 1e-6;
    for (std::size_t i = 0; i < kFeatures; ++i) {
      const auto feature = static_cast<double>(x[row * kFeatures + i]);
      variance +=
          feature * feature * std::exp(2 * static_cast<double>(log_std[i * kActions + action]));
    }
    return std::log(variance) / 2;
  }
};

TEST(StateDependentNoiseTest, DeviationsAndTheirGradientAgreeWithDouble) {
  Explorer net;
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.InputWithGradient({kRows, kFeatures}, net.x.data());
  const Tensor log_std = tape.InputWithGradient({kFeatures, kActions}, net.log_std.data());
  const Tensor y = ops::StateDependentLogStd(tape, x, log_std);
  for (std::size_t row = 0; row < kRows; ++row) {
    for (std::size_t a = 0; a < kActions; ++a) {
      EXPECT_NEAR(y.data()[row * kActions + a], net.LogStd(row, a), 2e-6);
    }
  }
  const std::vector<float> weights = NormalFloats(kRows * kActions, 4);
  const Tensor weighed = ops::Multiply(tape, y, tape.Input({kRows, kActions}, weights.data()));
  tape.Backward(ops::Sum(tape, weighed));
  EXPECT_EQ(x.gradient(), nullptr);  // Exploration moves no features.
  const auto sum = [&] {
    double total = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      total += static_cast<double>(weights[i]) * net.LogStd(i / kActions, i % kActions);
    }
    return total;
  };
  for (std::size_t i = 0; i < kFeatures * kActions; ++i) {
    const float value = net.log_std[i];
    net.log_std[i] = value + 0x1p-9F;
    const double above = sum();
    net.log_std[i] = value - 0x1p-9F;
    const double below = sum();
    net.log_std[i] = value;
    EXPECT_NEAR(log_std.gradient()[i], (above - below) / 0x1p-8, 1e-4) << i;
  }
}

// Actions are the mean and the matrix's product; their log-probability is that of normal actions
// whose deviation is the state's.
TEST(StateDependentNoiseTest, ActionsAndLogProbabilitiesAgreeWithDouble) {
  Explorer net;
  const std::vector<float> noise = NormalFloats(kRows * kFeatures * kActions, 5);
  std::vector<float> actions(kRows * kActions);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({kRows, kFeatures}, net.x.data());
  const Tensor log_std = tape.Input({kFeatures, kActions}, net.log_std.data());
  const Tensor mean = tape.Input({kRows, kActions}, net.mean.data());
  StateDependentActions(mean, x, log_std, noise, actions);
  const auto taken =
      ops::DiagonalGaussian(tape, mean, ops::StateDependentLogStd(tape, x, log_std), actions);
  for (std::size_t row = 0; row < kRows; ++row) {
    double log_prob = 0;
    for (std::size_t a = 0; a < kActions; ++a) {
      const std::size_t at = row * kActions + a;
      double added = 0;
      for (std::size_t i = 0; i < kFeatures; ++i) {
        added += static_cast<double>(net.x[row * kFeatures + i]) *
                 std::exp(static_cast<double>(net.log_std[i * kActions + a])) *
                 static_cast<double>(noise[(row * kFeatures + i) * kActions + a]);
      }
      EXPECT_NEAR(actions[at], static_cast<double>(net.mean[at]) + added, 1e-5);
      const double deviation = std::exp(net.LogStd(row, a));
      const double z =
          (static_cast<double>(actions[at]) - static_cast<double>(net.mean[at])) / deviation;
      log_prob -= z * z / 2 + std::log(deviation) + std::log(2 * std::acos(-1.0)) / 2;
    }
    EXPECT_NEAR(taken.log_probs.data()[row], log_prob, 1e-4);
  }
}

// Over many matrices the spread is what the log-probabilities say: of 20,000 draws the deviation
// errs by 1 / sqrt(40,000) = 0.5 %, and no mark is beyond six of it.
TEST(StateDependentNoiseTest, MatricesSpreadActionsAsTheStateSays) {
  constexpr std::uint64_t kDraws = 20'000;
  Explorer net;
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({1, kFeatures}, net.x.data());
  const Tensor log_std = tape.Input({kFeatures, kActions}, net.log_std.data());
  const Tensor mean = tape.Input({1, kActions}, net.mean.data());
  std::vector<double> sums(kActions), squares(kActions);
  std::vector<float> noise(kFeatures * kActions), actions(kActions);
  for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
    DrawNoiseMatrix({7, RandomPurpose::kAction, 3, draw}, noise);
    StateDependentActions(mean, x, log_std, noise, actions);
    for (std::size_t a = 0; a < kActions; ++a) {
      const double added = static_cast<double>(actions[a]) - static_cast<double>(net.mean[a]);
      sums[a] += added / kDraws;
      squares[a] += added * added / kDraws;
    }
  }
  for (std::size_t a = 0; a < kActions; ++a) {
    const double deviation = std::exp(net.LogStd(0, a));
    EXPECT_NEAR(std::sqrt(squares[a] - sums[a] * sums[a]) / deviation, 1, 0.03);
    EXPECT_NEAR(sums[a] / deviation, 0, 0.045);
  }
}

TEST(StateDependentNoiseTest, AStateWithoutFeaturesIsWorkedByHandAndShapesAreChecked) {
  const std::vector<float> nothing(kFeatures), ones(kFeatures * kActions);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({1, kFeatures}, nothing.data());
  const Tensor log_std = tape.Input({kFeatures, kActions}, ones.data());
  EXPECT_NEAR(ops::StateDependentLogStd(tape, x, log_std).data()[0], std::log(1e-3), 1e-6);
  EXPECT_THROW(ops::StateDependentLogStd(tape, log_std, x), ContractViolation);
  std::vector<float> actions(kActions);
  EXPECT_THROW(StateDependentActions(x, x, log_std, ones, actions), ContractViolation);
}

}  // namespace
}  // namespace muster
