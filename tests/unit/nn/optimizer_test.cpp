#include "nn/optim/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace muster::nn {
namespace {

// One decayed and one undecayed parameter; the flat vector has the later one first.
ParameterSet TwoParameters() {
  ParameterSet set;
  set.Add({.name = "weight", .shape = {1}});
  set.Add({.name = "bias", .shape = {1}, .decay = false});
  return set;
}

struct Flat {
  explicit Flat(const ParameterSet& set)
      : weight(set[0].offset),
        bias(set[1].offset),
        values(set.flat_elements()),
        gradients(set.flat_elements()) {
    values[weight] = values[bias] = 1.0F;
    gradients[weight] = gradients[bias] = 0.5F;
  }
  std::size_t weight, bias;
  std::vector<float> values, gradients;
};

// v1 = 0.5, w = 1 - 0.1 * 0.5; v2 = 0.9 * 0.5 + 0.5 = 0.95, w -= 0.095.
TEST(OptimizerTest, SgdWithMomentumMatchesHandWorkedSteps) {
  const ParameterSet set = TwoParameters();
  Flat flat(set);
  const auto sgd = MakeOptimizer({.kind = OptimizerKind::kSgd}, set);
  sgd->Step({.learning_rate = 0.1F}, flat.values, flat.gradients, nullptr);
  EXPECT_FLOAT_EQ(flat.values[flat.weight], 0.95F);
  sgd->Step({.learning_rate = 0.1F}, flat.values, flat.gradients, nullptr);
  EXPECT_FLOAT_EQ(flat.values[flat.weight], 0.855F);
  EXPECT_EQ(sgd->steps_done(), 2U);
}

// Nesterov's first step is g + 0.9 * g; decay 0.2 makes g = 0.5 + 0.2 for the weight alone.
TEST(OptimizerTest, NesterovAndDecayMatchHandWorkedSteps) {
  const ParameterSet set = TwoParameters();
  Flat flat(set);
  const auto sgd =
      MakeOptimizer({.kind = OptimizerKind::kSgd, .nesterov = true, .weight_decay = 0.2F}, set);
  sgd->Step({.learning_rate = 0.1F}, flat.values, flat.gradients, nullptr);
  EXPECT_FLOAT_EQ(flat.values[flat.bias], 1.0F - 0.1F * 0.95F);
  EXPECT_FLOAT_EQ(flat.values[flat.weight], 1.0F - 0.1F * 1.33F);
}

// Bias correction makes the first step rate * g / (|g| + epsilon) whatever the betas are.
TEST(OptimizerTest, AdamsFirstStepHasTheSizeOfTheRate) {
  const ParameterSet set = TwoParameters();
  Flat flat(set);
  const auto adam = MakeOptimizer({.kind = OptimizerKind::kAdam, .epsilon = 0.1F}, set);
  adam->Step({.learning_rate = 0.01F}, flat.values, flat.gradients, nullptr);
  EXPECT_FLOAT_EQ(flat.values[flat.weight], 1.0F - 0.01F * 0.5F / 0.6F);
}

TEST(OptimizerTest, AdamWDecaysTheValueAndSkipsBiases) {
  const ParameterSet set = TwoParameters();
  Flat flat(set);
  const auto adamw = MakeOptimizer({.epsilon = 0.0F, .weight_decay = 0.5F}, set);
  adamw->Step({.learning_rate = 0.01F}, flat.values, flat.gradients, nullptr);
  EXPECT_FLOAT_EQ(flat.values[flat.bias], 0.99F);
  EXPECT_FLOAT_EQ(flat.values[flat.weight], 1.0F * (1.0F - 0.005F) - 0.01F);
}

// v = (1 - beta2) g^2: root 0.5 * sqrt(0.001); the rate is corrected by sqrt(0.001) / 0.1, m is
// 0.05.
TEST(OptimizerTest, AdamWithEpsilonHatAddsItBeforeTheCorrection) {
  const ParameterSet set = TwoParameters();
  Flat flat(set);
  const auto adam =
      MakeOptimizer({.kind = OptimizerKind::kAdam, .epsilon = 0.1F, .epsilon_hat = true}, set);
  adam->Step({.learning_rate = 0.01F}, flat.values, flat.gradients, nullptr);
  const float root = std::sqrt(0.001F);
  EXPECT_NEAR(flat.values[flat.weight], 1.0F - 0.01F * root / 0.1F * 0.05F / (0.5F * root + 0.1F),
              1e-7F);
}

// v1 = 0.01 * 0.25, step 0.5 / (0.05 + eps); v2 = 0.99 v1 + 0.0025; with momentum m2 = 0.5 m1 +
// step.
TEST(OptimizerTest, RmsPropMatchesHandWorkedSteps) {
  const ParameterSet set = TwoParameters();
  for (const float momentum : {0.0F, 0.5F}) {
    SCOPED_TRACE(momentum);
    Flat flat(set);
    const auto rms = MakeOptimizer(
        {.kind = OptimizerKind::kRmsProp, .momentum = momentum, .epsilon = 0.01F}, set);
    EXPECT_EQ(rms->State().size(), momentum == 0.0F ? 1U : 2U);
    rms->Step({.learning_rate = 0.1F}, flat.values, flat.gradients, nullptr);
    const float first = 0.5F / 0.06F;
    EXPECT_NEAR(flat.values[flat.weight], 1.0F - 0.1F * first, 2e-6F);
    rms->Step({.learning_rate = 0.1F}, flat.values, flat.gradients, nullptr);
    const float second = 0.5F / (std::sqrt(0.004975F) + 0.01F);
    EXPECT_NEAR(flat.values[flat.weight], 1.0F - 0.1F * first - 0.1F * (momentum * first + second),
                2e-6F);
  }
}

TEST(OptimizerTest, KeepsRoundedCopiesForANetworkInBf16) {
  const ParameterSet set = TwoParameters();
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdam, OptimizerKind::kAdamW,
                                   OptimizerKind::kRmsProp}) {
    Flat flat(set);
    std::vector<BFloat16> narrow(set.flat_elements());
    const auto optimizer = MakeOptimizer({.kind = kind}, set);
    for (int step = 0; step < 3; ++step) {
      optimizer->Step({.learning_rate = 1e-4F, .narrow_values = narrow}, flat.values,
                      flat.gradients, nullptr);
    }
    // The f32 value has moved by less than a bf16 can show.
    EXPECT_LT(flat.values[flat.weight], 1.0F);
    EXPECT_EQ(narrow[flat.weight].bits, BFloat16(flat.values[flat.weight]).bits);
    EXPECT_EQ(narrow[flat.bias].bits, BFloat16(flat.values[flat.bias]).bits);
  }
}

// One element's optimiser, written down in double.
struct InDouble {
  OptimizerOptions options;
  double w = 1, first = 0, second = 0;

  void Step(int t, double g, double rate, double decay) {
    const auto of = [](float option) { return static_cast<double>(option); };
    if (options.kind != OptimizerKind::kAdamW) g += decay * w;
    if (options.kind == OptimizerKind::kSgd) {
      first = of(options.momentum) * first + g;
      w -= rate * (options.nesterov ? g + of(options.momentum) * first : first);
      return;
    }
    if (options.kind == OptimizerKind::kRmsProp) {
      second = of(options.alpha) * second + (1 - of(options.alpha)) * g * g;
      first = of(options.momentum) * first + g / (std::sqrt(second) + of(options.epsilon));
      w -= rate * first;
      return;
    }
    if (options.kind == OptimizerKind::kAdamW) w *= 1 - rate * decay;
    const double beta1 = of(options.beta1), beta2 = of(options.beta2);
    first = beta1 * first + (1 - beta1) * g;
    second = beta2 * second + (1 - beta2) * g * g;
    const double m = first / (1 - std::pow(beta1, t)), correction = 1 - std::pow(beta2, t);
    const double v = second / correction;
    // With the hat epsilon is added before the correction.
    const double epsilon = of(options.epsilon) / (options.epsilon_hat ? std::sqrt(correction) : 1);
    w -= rate * m / (std::sqrt(v) + epsilon);
  }
};

// Fifty steps with clipping and a rate that changes, of a decayed and an undecayed element.
TEST(OptimizerTest, EveryKindAgreesWithAPlainVersionInDouble) {
  using Kind = OptimizerKind;
  const std::vector<OptimizerOptions> all = {
      {.kind = Kind::kSgd, .momentum = 0},
      {.kind = Kind::kSgd},
      {.kind = Kind::kSgd, .nesterov = true},
      {.kind = Kind::kAdam},
      {.kind = Kind::kAdam, .epsilon = 1e-2F, .epsilon_hat = true},
      {.kind = Kind::kAdamW, .epsilon = 1e-2F},
      {.kind = Kind::kAdamW, .epsilon_hat = true},
      {.kind = Kind::kRmsProp, .momentum = 0, .epsilon = 1e-2F},
      {.kind = Kind::kRmsProp, .momentum = 0.5F, .epsilon = 1e-2F}};
  const ParameterSet set = TwoParameters();
  for (std::size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(i);
    OptimizerOptions options = all[i];
    options.weight_decay = 0.125F;
    Flat flat(set);
    const auto optimizer = MakeOptimizer(options, set);
    InDouble weight{options}, bias{options};
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (int t = 1; t <= 50; ++t) {
      const float rate = 0.02F / static_cast<float>(t);
      flat.gradients[flat.weight] = normal(random);
      flat.gradients[flat.bias] = normal(random);
      optimizer->Step({.learning_rate = rate, .gradient_scale = 0.5F}, flat.values, flat.gradients,
                      nullptr);
      const auto wide = static_cast<double>(rate);
      weight.Step(t, 0.5 * static_cast<double>(flat.gradients[flat.weight]), wide, 0.125);
      bias.Step(t, 0.5 * static_cast<double>(flat.gradients[flat.bias]), wide, 0);
      ASSERT_NEAR(static_cast<double>(flat.values[flat.weight]), weight.w, 1e-5) << t;
      ASSERT_NEAR(static_cast<double>(flat.values[flat.bias]), bias.w, 1e-5) << t;
    }
  }
}

TEST(OptimizerTest, RestoredStateGivesTheSameBitsOnAnyNumberOfThreads) {
  ParameterSet set;
  set.Add({.name = "large", .shape = {200001}});
  set.Add({.name = "small", .shape = {3}, .decay = false});
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdam, OptimizerKind::kAdamW,
                                   OptimizerKind::kRmsProp}) {
    SCOPED_TRACE(static_cast<int>(kind));
    const OptimizerOptions options{.kind = kind, .weight_decay = 0.01F};
    std::vector<float> one(set.flat_elements(), 0.5F), gradients(set.flat_elements());
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      gradients[i] = std::sin(static_cast<float>(i));
    }
    std::vector<float> other = one;
    const auto straight = MakeOptimizer(options, set);
    for (int step = 0; step < 4; ++step) straight->Step({0.1F, 0.3F}, one, gradients, nullptr);

    ThreadPool pool(3);
    const auto before = MakeOptimizer(options, set), after = MakeOptimizer(options, set);
    for (int step = 0; step < 2; ++step) before->Step({0.1F, 0.3F}, other, gradients, &pool);
    const auto from = before->State(), to = after->State();
    ASSERT_EQ(from.size(), to.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
      EXPECT_EQ(from[i].name, to[i].name);
      std::copy(from[i].values.begin(), from[i].values.end(), to[i].values.begin());
    }
    after->RestoreStepsDone(before->steps_done());
    for (int step = 0; step < 2; ++step) after->Step({0.1F, 0.3F}, other, gradients, &pool);
    EXPECT_EQ(one, other);
  }
}

TEST(OptimizerTest, RefusesVectorsOfAnotherSize) {
  const ParameterSet set = TwoParameters();
  std::vector<float> wrong(1);
  EXPECT_THROW(MakeOptimizer({}, set)->Step({}, wrong, wrong, nullptr), ContractViolation);
}

}  // namespace
}  // namespace muster::nn
