#include "tensor/kernels/kl_divergence.h"
#include "tensor/kernels/linear_cross_entropy.h"
#include "tensor/kernels/ppo_loss.h"
#include "tensor/kernels/preference_loss.h"
#include "tensor/kernels/softmax_cross_entropy.h"
#include "tests/support/gpu.h"

namespace muster {
namespace {

using testing::RandomValues;

constexpr std::size_t kCount = 20'011;  // More than one block.
constexpr float kScale = 0.01F;

class GpuLoss : public testing::GpuTest {
 protected:
  // Where a loss goes, and its comparison with the CPU's.
  template <class T>
  cuda::FusedLossArgs Outputs() {
    loss_ = Room<float>(1);
    sums_ = Room<double>(6);
    slopes_ = Room<float>(kCount);
    return {kDTypeOf<T>, kCount, kScale, loss_, sums_, slopes_};
  }
  template <class T>
  void Expect(Tape& tape, Tensor loss, const std::vector<double>& sums, Tensor by, float factor) {
    ExpectNear(loss_, loss.data(), 1, "loss", 1e-6F);
    const auto got = Download(sums_, sums.size());
    for (std::size_t i = 0; i < sums.size(); ++i) {
      EXPECT_NEAR(got[i], sums[i], 1e-9 * (1 + std::abs(sums[i]))) << "sum " << i;
    }
    tape.Backward(loss, 0.5F);
    T* const dx = Room<T>(kCount);
    float* const dy = Upload(std::vector<float>{0.5F});
    Must(functions_->LossBackward(stream_, {kDTypeOf<T>, kCount, slopes_, dy, factor, dx, false}));
    ExpectSameBits(dx, by.gradient_as<T>(), kCount, "dx");
  }

  float *loss_ = nullptr, *slopes_ = nullptr;
  double* sums_ = nullptr;
};

MUSTER_TEST_BOTH_TYPES(GpuLoss, ClippedSurrogate) {
  const auto news = RandomValues<T>(kCount, 1);
  const auto olds = RandomValues<float>(kCount, 2), advantages = RandomValues<float>(kCount, 3);
  auto weights = RandomValues<float>(kCount, 4);
  weights[7] = 0;
  Tape tape;
  tape.Begin({});
  const Tensor tx = tape.InputWithGradient({kCount}, news.data());
  const ops::PpoLoss wanted =
      ops::ClippedSurrogate(tape, tx, {olds, advantages, weights}, {0.2F, 0.3F}, kScale);
  const cuda::FusedLossArgs outputs = Outputs<T>();
  Must(functions_->ClippedSurrogate(stream_, {outputs, Upload(news), Upload(olds),
                                              Upload(advantages), Upload(weights), 0.2F, 0.3F}));
  const ops::PpoScore& s = wanted.score;
  Expect<T>(tape, wanted.loss,
            {s.loss_sum, s.weight_sum, s.kl_k1_sum, s.kl_k3_sum, s.ratio_sum, s.clipped_sum}, tx,
            kScale);
}

MUSTER_TEST_BOTH_TYPES(GpuLoss, ValueLosses) {
  const auto values = RandomValues<T>(kCount, 5);
  const auto olds = RandomValues<float>(kCount, 6), targets = RandomValues<float>(kCount, 7),
             weights = RandomValues<float>(kCount, 8);
  const T* const x = Upload(values);
  const float *const t = Upload(targets), *const w = Upload(weights);
  {
    Tape tape;
    tape.Begin({});
    const Tensor tx = tape.InputWithGradient({kCount}, values.data());
    const auto wanted = ops::ValueLoss(tape, tx, targets, weights, kScale);
    const cuda::FusedLossArgs outputs = Outputs<T>();
    Must(functions_->ValueLoss(stream_, {outputs, x, t, w}));
    Expect<T>(tape, wanted.loss, {wanted.score.loss_sum, wanted.score.weight_sum}, tx, kScale);
  }
  Tape tape;
  tape.Begin({});
  const Tensor tx = tape.InputWithGradient({kCount}, values.data());
  const auto wanted = ops::ClippedValueLoss(tape, tx, {olds, targets, weights}, 0.4F, kScale);
  const cuda::FusedLossArgs outputs = Outputs<T>();
  Must(functions_->ClippedValueLoss(stream_, {outputs, x, Upload(olds), t, w, 0.4F}));
  const ops::ValueScore& s = wanted.score;
  Expect<T>(tape, wanted.loss, {s.loss_sum, s.weight_sum, s.clipped_sum}, tx, kScale);
}

MUSTER_TEST_BOTH_TYPES(GpuLoss, PreferenceLosses) {
  const auto chosen = RandomValues<T>(kCount, 9), rejected = RandomValues<T>(kCount, 10);
  const auto first = RandomValues<float>(kCount, 11), second = RandomValues<float>(kCount, 12);
  const T *const good = Upload(chosen), *const bad = Upload(rejected);
  const float *const a = Upload(first), *const b = Upload(second);
  for (int kind = 0; kind < 3; ++kind) {
    SCOPED_TRACE(kind);
    Tape tape;
    tape.Begin({});
    const Tensor tc = tape.InputWithGradient({kCount}, chosen.data()),
                 tr = tape.InputWithGradient({kCount}, rejected.data());
    const cuda::FusedLossArgs outputs = Outputs<T>();
    ops::PreferenceLoss wanted;
    if (kind == 0) {
      wanted = ops::BradleyTerryLoss(tape, tc, tr, first, kScale);
      Must(functions_->BradleyTerryLoss(stream_, {outputs, good, bad, a}));
    } else if (kind == 1) {
      wanted = ops::DpoLoss(tape, tc, tr, {first, second}, {0.3F, 0.1F}, kScale);
      Must(functions_->DpoLoss(stream_, {outputs, good, bad, a, b, 0.3F, 0.1F}));
    } else {
      wanted = ops::IpoLoss(tape, tc, tr, {first, second}, 0.2F, kScale);
      Must(functions_->IpoLoss(stream_, {outputs, good, bad, a, b, 0.2F}));
    }
    const ops::PreferenceScore& s = wanted.score;
    // Of the rejected answers: the same slopes with the other sign.
    Expect<T>(tape, wanted.loss,
              {s.loss_sum, s.correct_sum, s.chosen_reward_sum, s.rejected_reward_sum}, tr, -kScale);
  }
}

MUSTER_TEST_BOTH_TYPES(GpuLoss, KlDivergence) {
  const auto policy = RandomValues<T>(kCount, 13);
  const auto reference = RandomValues<float>(kCount, 14), weights = RandomValues<float>(kCount, 15),
             dy = RandomValues<float>(kCount, 16);
  const T* const x = Upload(policy);
  const float* const r = Upload(reference);
  for (const auto kind : {ops::KlEstimator::kK1, ops::KlEstimator::kK2, ops::KlEstimator::kK3}) {
    SCOPED_TRACE(static_cast<int>(kind));
    Tape tape;
    tape.Begin({});
    const Tensor tx = tape.InputWithGradient({kCount}, policy.data());
    const auto wanted = ops::KlLoss(tape, tx, reference, weights, kind, kScale);
    const cuda::FusedLossArgs outputs = Outputs<T>();
    Must(functions_->KlLoss(stream_, {outputs, kind, x, r, Upload(weights)}));
    Expect<T>(tape, wanted.loss, {wanted.score.kl_sum, wanted.score.weight_sum}, tx, kScale);
    tape.Begin({});
    const Tensor tz = tape.InputWithGradient({kCount}, policy.data());
    const Tensor estimates = ops::KlEstimates(tape, tz, reference, kind);
    testing::BackwardFrom(tape, estimates, dy);
    float *const to = Room<float>(kCount), *const slopes = Room<float>(kCount);
    T* const dx = Room<T>(kCount);
    Must(functions_->KlEstimates(stream_, {kDTypeOf<T>, kCount, kind, x, r, to, slopes}));
    ExpectSameBits(to, estimates.data(), kCount, "estimates");
    Must(functions_->KlEstimatesBackward(stream_,
                                         {kDTypeOf<T>, kCount, slopes, Upload(dy), dx, false}));
    ExpectSameBits(dx, tz.gradient_as<T>(), kCount, "dx");
  }
}

TEST_F(GpuLoss, SoftmaxCrossEntropy) {
  constexpr std::size_t kRows = 37, kClasses = 10;
  auto logits = RandomValues<float>(kRows * kClasses, 17, 3);
  logits[0] = logits[3] = 20;  // The first of equal ones counts.
  std::vector<std::int32_t> targets;
  for (std::size_t i = 0; i < kRows; ++i) targets.push_back(static_cast<int>(i * 3 % kClasses));
  Tape tape;
  tape.Begin({});
  const Tensor tx = tape.InputWithGradient({kRows, kClasses}, logits.data());
  const auto wanted = ops::SoftmaxCrossEntropy(tape, tx, targets, 0.1F);
  tape.Backward(wanted.loss);
  float *const p = Room<float>(logits.size()), *const loss = Room<float>(1);
  double *const sum = Room<double>(1), *const correct = Room<double>(1);
  const auto* const t = Upload(targets);
  Must(functions_->SoftmaxCrossEntropy(
      stream_, {kRows, kClasses, Upload(logits), t, 0.1F, p, loss, sum, correct}));
  ExpectNear(loss, wanted.loss.data(), 1, "loss", 1e-6F);
  EXPECT_NEAR(Download(sum, 1)[0], wanted.score.loss_sum, 1e-5);
  EXPECT_EQ(Download(correct, 1)[0], static_cast<double>(wanted.score.correct));
  float* const dx = Room<float>(logits.size());
  Must(functions_->SoftmaxCrossEntropyBackward(
      stream_, {kRows, kClasses, p, t, 0.1F, Upload(std::vector<float>{1}), dx, false}));
  ExpectNear(dx, tx.gradient(), logits.size(), "dx", 1e-6F);
}

// A vocabulary of more than one slice, and a row of which nothing is asked.
MUSTER_TEST_BOTH_TYPES(GpuLoss, LinearCrossEntropy) {
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kRows = 5, kWidth = 8, kVocabulary = 2100;
  const auto x = RandomValues<T>(kRows * kWidth, 18),
             weight = RandomValues<T>(kVocabulary * kWidth, 19);
  const std::vector<std::int32_t> targets = {0, 2099, -1, 2048, 77};
  const std::vector<float> weights = {1, 2, 3, 0.5F, 0}, scaled = {0.5F, 1, 0, 0.25F, 0};
  std::vector<float> dw(weight.size());
  const std::vector<LeafBinding> leaves = {
      {{kVocabulary, kWidth}, weight.data(), dw.data(), kType}};
  Tape tape;
  tape.Begin(leaves);
  const Tensor tx = tape.InputWithGradient({kRows, kWidth}, x.data());
  const auto wanted = ops::LinearCrossEntropy(tape, tx, tape.Parameter(0), targets, weights, 0.5F);
  tape.Backward(wanted.loss);
  const T *const from = Upload(x), *const w = Upload(weight);
  const auto* const t = Upload(targets);
  const float* const per_row = Upload(scaled);
  float *const loss = Room<float>(1), *const log_probs = Room<float>(kRows),
               *const entropies = Room<float>(kRows), *const log_sums = Room<float>(kRows);
  Must(functions_->LinearCrossEntropy(stream_, {kType, kRows, kWidth, kVocabulary, from, w, t,
                                                per_row, loss, log_probs, entropies, log_sums}));
  ExpectNear(loss, wanted.loss.data(), 1, "loss", 1e-5F);
  ExpectNear(log_probs, wanted.log_probs.data(), kRows, "log_probs", 1e-5F);
  ExpectNear(entropies, wanted.entropies.data(), kRows, "entropies", 1e-5F);
  T* const dx = Room<T>(x.size());
  float* const gw = Room<float>(weight.size());
  Must(functions_->LinearCrossEntropyBackward(
      stream_, {kType, kRows, kWidth, kVocabulary, from, w, t, per_row, log_sums,
                Upload(std::vector<float>{1}), dx, gw, true, false}));
  ExpectNear(dx, tx.gradient_as<T>(), x.size(), "dx", 1e-5F);
  ExpectNear(gw, dw.data(), dw.size(), "dweight", kType == DType::kF32 ? 1e-5F : 1e-2F);
}

}  // namespace
}  // namespace muster
