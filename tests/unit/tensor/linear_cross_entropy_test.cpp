#include "tensor/kernels/linear_cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/check.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::Normal;
using Values = std::vector<double>;
using Targets = std::vector<std::int32_t>;

// Log-probabilities of all tokens of one row.
Values LogProbs(const double* x, const Values& weight, std::size_t width) {
  Values logits;
  double sum = 0;
  for (std::size_t token = 0; token < weight.size() / width; ++token) {
    double logit = 0;
    for (std::size_t i = 0; i < width; ++i) logit += x[i] * weight[token * width + i];
    logits.push_back(logit);
    sum += std::exp(logit);
  }
  for (double& logit : logits) logit -= std::log(sum);
  return logits;
}

TEST(LinearCrossEntropyTest, AgreesWithDouble) {
  constexpr std::size_t kWidth = 5;
  ThreadPool pool(2);
  unsigned seed = 1;
  // The larger vocabularies take two slices.
  for (const std::size_t vocabulary : {1, 2, 7, 2053}) {
    const Targets targets = {0, static_cast<std::int32_t>(vocabulary - 1), ops::kNoTarget,
                             static_cast<std::int32_t>(vocabulary / 2)};
    const std::vector<float> weights = {1, 0.5F, 2, -1};
    SCOPED_TRACE(vocabulary);
    // Two slices of gradients by differences take a while: those of x alone say enough.
    const auto weight = Normal({vocabulary, kWidth}, ++seed, 0.7);
    const auto reference = [&](const Values& x, const Values& w) {
      double loss = 0;
      for (std::size_t row = 0; row < targets.size(); ++row) {
        if (targets[row] == ops::kNoTarget) continue;
        loss -= 0.25 * static_cast<double>(weights[row]) *
                LogProbs(&x[row * kWidth], w, kWidth)[static_cast<std::size_t>(targets[row])];
      }
      return Values{loss};
    };
    const auto x = Normal({targets.size(), kWidth}, ++seed);
    if (vocabulary < 100) {
      CheckOp(
          [&](Tape& tape, const auto& t) {
            return ops::LinearCrossEntropy(tape, t[0], t[1], targets, weights, 0.25F).loss;
          },
          [&](const auto& t) { return reference(t[0], t[1]); }, {x, weight},
          {.f32 = 2e-5, .bf16 = 2e-2}, &pool);
      continue;
    }
    std::vector<float> wide(weight.values.begin(), weight.values.end());
    std::vector<BFloat16> narrow(wide.begin(), wide.end());
    Values exact;
    CheckOp(
        [&](Tape& tape, const auto& t) {
          const bool f32 = t[0].type() == DType::kF32;
          exact.clear();
          for (std::size_t i = 0; i < wide.size(); ++i) {
            exact.push_back(static_cast<double>(f32 ? wide[i] : ToFloat(narrow[i])));
          }
          const Tensor w =
              f32 ? tape.Input(weight.shape, wide.data()) : tape.Input(weight.shape, narrow.data());
          return ops::LinearCrossEntropy(tape, t[0], w, targets, weights, 0.25F).loss;
        },
        [&](const auto& t) { return reference(t[0], exact); }, {x}, {.f32 = 2e-5, .bf16 = 2e-2},
        &pool);
  }
}

TEST(LinearCrossEntropyTest, SaysLogProbabilitiesAndEntropiesOfLargeVocabularies) {
  for (const std::size_t vocabulary : {50'257, 151'936}) {
    constexpr std::size_t kWidth = 3;
    const auto x = Normal({2, kWidth}, 4), weight = Normal({vocabulary, kWidth}, 5);
    const std::vector<float> in(x.values.begin(), x.values.end());
    const std::vector<float> w(weight.values.begin(), weight.values.end());
    const Targets targets = {17, static_cast<std::int32_t>(vocabulary - 1)};
    Tape tape({.inference = true});
    tape.Begin({});
    const ops::TokenScores scores = ops::LinearCrossEntropy(
        tape, tape.Input(x.shape, in.data()), tape.Input(weight.shape, w.data()), targets);
    for (std::size_t row = 0; row < 2; ++row) {
      const Values row_in(in.begin() + static_cast<std::ptrdiff_t>(row * kWidth),
                          in.begin() + static_cast<std::ptrdiff_t>((row + 1) * kWidth));
      const Values log_probs = LogProbs(row_in.data(), Values(w.begin(), w.end()), kWidth);
      double entropy = 0;
      for (const double log_prob : log_probs) entropy -= std::exp(log_prob) * log_prob;
      EXPECT_NEAR(static_cast<double>(scores.log_probs[row]),
                  log_probs[static_cast<std::size_t>(targets[row])], 2e-5);
      EXPECT_NEAR(static_cast<double>(scores.entropies[row]), entropy, 1e-4);
    }
  }
}

// d loss / d logit = weight (p - [is the target]), slice after slice of the vocabulary.
template <class T>
void CheckGradients(std::size_t vocabulary, double tolerance) {
  constexpr std::size_t kRows = 3, kWidth = 3;
  const auto x = Normal({kRows, kWidth}, 4), weight = Normal({vocabulary, kWidth}, 5);
  std::vector<T> in, w;
  Values exact_in, exact_w;
  for (const double value : x.values) in.push_back(T(static_cast<float>(value)));
  for (const double value : weight.values) w.push_back(T(static_cast<float>(value)));
  for (const T value : in) exact_in.push_back(static_cast<double>(ToFloat(value)));
  for (const T value : w) exact_w.push_back(static_cast<double>(ToFloat(value)));
  const Targets targets = {17, ops::kNoTarget, static_cast<std::int32_t>(vocabulary - 1)};
  const std::vector<float> weights = {0.5F, 1, -2};
  std::vector<float> dw(w.size());
  ThreadPool pool(2);
  Tape tape({.pool = &pool});
  tape.Begin(std::vector<LeafBinding>{{weight.shape, w.data(), dw.data(), kDTypeOf<T>}});
  const Tensor input = tape.InputWithGradient(x.shape, in.data());
  tape.Backward(ops::LinearCrossEntropy(tape, input, tape.Parameter(0), targets, weights).loss);
  Values wanted(w.size()), wanted_dx(in.size()), terms(w.size());  // Terms: without their signs.
  for (const std::size_t row : {0, 2}) {
    const double* const from = &exact_in[row * kWidth];
    const Values log_probs = LogProbs(from, exact_w, kWidth);
    for (std::size_t token = 0; token < vocabulary; ++token) {
      const double hit = token == static_cast<std::size_t>(targets[row]) ? 1 : 0;
      const double slope = static_cast<double>(weights[row]) * (std::exp(log_probs[token]) - hit);
      for (std::size_t i = 0; i < kWidth; ++i) {
        wanted[token * kWidth + i] += slope * from[i];
        terms[token * kWidth + i] += std::abs(slope * from[i]);
        wanted_dx[row * kWidth + i] += slope * exact_w[token * kWidth + i];
      }
    }
  }
  for (std::size_t i = 0; i < dw.size(); ++i) {
    const double limit = tolerance * (terms[i] + 1e-9);
    ASSERT_NEAR(static_cast<double>(dw[i]), wanted[i], limit) << "token " << i / kWidth;
  }
  const Values dx = testing::GradientOf(input);
  for (std::size_t i = 0; i < dx.size(); ++i) {
    ASSERT_NEAR(dx[i], wanted_dx[i], tolerance * (1 + std::abs(wanted_dx[i]))) << i;
  }
}

TEST(LinearCrossEntropyTest, GradientsOfLargeVocabulariesAgreeWithDouble) {
  CheckGradients<float>(4'099, 1e-4);
  CheckGradients<BFloat16>(4'099, 2e-2);
  CheckGradients<float>(50'257, 1e-4);
  CheckGradients<BFloat16>(151'936, 2e-2);
}

TEST(LinearCrossEntropyTest, NoRowsAndNoTargetsCostNothing) {
  const auto w = Normal({7, 4}, 1).values;
  const std::vector<float> weight(w.begin(), w.end()), x(8, 1);
  for (const Targets& targets : {Targets{}, Targets{ops::kNoTarget, ops::kNoTarget}}) {
    Tape tape;
    tape.Begin({});
    const Tensor in = tape.InputWithGradient({targets.size(), 4}, x.data());
    const Tensor out = tape.InputWithGradient({7, 4}, weight.data());
    const auto scores = ops::LinearCrossEntropy(tape, in, out, targets);
    EXPECT_EQ(*scores.loss.data(), 0);
    EXPECT_EQ(scores.log_probs.size(), targets.size());
    tape.Backward(scores.loss);
    EXPECT_EQ(testing::GradientOf(in), Values(targets.size() * 4));
    EXPECT_EQ(testing::GradientOf(out), Values(28));
  }
}

TEST(LinearCrossEntropyTest, ARowsBitsDependOnNoOtherAndOnNoThread) {
  const auto x = Normal({70, 16}, 1), weight = Normal({2500, 16}, 2);
  std::vector<BFloat16> in, w;
  for (const double v : x.values) in.emplace_back(static_cast<float>(v));
  for (const double v : weight.values) w.emplace_back(static_cast<float>(v));
  Targets targets(70);
  for (std::size_t i = 0; i < 70; ++i) targets[i] = static_cast<std::int32_t>(i * 35);
  ThreadPool pool(3);
  Tape all({.inference = true, .pool = &pool}), one({.inference = true});
  all.Begin({});
  const ops::TokenScores together = ops::LinearCrossEntropy(
      all, all.Input({70, 16}, in.data()), all.Input({2500, 16}, w.data()), targets);
  for (std::size_t row = 0; row < 70; ++row) {
    one.Begin({});
    const ops::TokenScores alone =
        ops::LinearCrossEntropy(one, one.Input({1, 16}, in.data() + row * 16),
                                one.Input({2500, 16}, w.data()), {&targets[row], 1});
    ASSERT_EQ(together.log_probs[row], alone.log_probs[0]);
    ASSERT_EQ(together.entropies[row], alone.entropies[0]);
  }
}

TEST(LinearCrossEntropyTest, RefusesATargetBeyondTheVocabulary) {
  const std::vector<float> values(20);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({1, 4}, values.data()), w = tape.Input({5, 4}, values.data());
  EXPECT_NO_THROW(ops::LinearCrossEntropy(tape, x, w, Targets{4}));
  EXPECT_THROW(ops::LinearCrossEntropy(tape, x, w, Targets{5}), ContractViolation);
  EXPECT_THROW(ops::LinearCrossEntropy(tape, x, w, Targets{-2}), ContractViolation);
  EXPECT_THROW(ops::LinearCrossEntropy(tape, x, w, Targets{1, 2}), ContractViolation);
}

}  // namespace
}  // namespace muster
