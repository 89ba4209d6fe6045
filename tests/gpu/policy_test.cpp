#include "tensor/kernels/categorical.h"
#include "tensor/kernels/gaussian.h"
#include "tests/support/gpu.h"

namespace muster {
namespace {

using testing::RandomValues;
class GpuPolicy : public testing::GpuTest {
 protected:
  template <class T>
  void CheckGaussian(bool shared);
};

std::vector<RandomKey> KeysOf(std::size_t rows) {
  std::vector<RandomKey> keys;
  for (std::uint64_t i = 0; i < rows; ++i) keys.push_back({3, RandomPurpose::kAction, 2, i});
  return keys;
}

// log_probs with this gradient, entropies with another: one backward pass of both.
void BackwardFromBoth(Tape& tape, const LogProbsAndEntropy& outputs, const std::vector<float>& g,
                      const std::vector<float>& h) {
  const Tensor weighted = ops::Multiply(tape, outputs.log_probs,
                                        tape.Input(outputs.log_probs.shape(), g.data())),
               other = ops::Multiply(tape, outputs.entropy,
                                     tape.Input(outputs.entropy.shape(), h.data()));
  tape.Backward(ops::Add(tape, ops::Sum(tape, weighted), ops::Sum(tape, other)));
}

// Three categoricals to a row, one of them with a class that cannot be taken.
MUSTER_TEST_BOTH_TYPES(GpuPolicy, Categorical) {
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kRows = 77, kWidth = 45;
  const std::vector<std::size_t> sizes = {3, 2, 40};
  const std::vector<std::int32_t> begins = {0, 3, 5, 45};
  auto logits = RandomValues<T>(kRows * kWidth, 1, 2);
  for (std::size_t row = 0; row < kRows; ++row) {
    logits[row * kWidth + 10] = T(-std::numeric_limits<float>::infinity());
  }
  std::vector<std::int32_t> actions(kRows * 3), modes(kRows * 3);
  std::vector<float> log_probs(kRows);
  const auto keys = KeysOf(kRows);
  Tape tape;
  tape.Begin({});
  const Tensor tx = tape.InputWithGradient({kRows, kWidth}, logits.data());
  SampleCategorical(tx, sizes, keys, actions, log_probs);
  CategoricalMode(tx, sizes, modes);
  const LogProbsAndEntropy wanted = ops::MultiCategorical(tape, tx, sizes, actions);
  auto g = RandomValues<float>(kRows, 2), h = RandomValues<float>(kRows, 3);
  g[4] = h[4] = 0;  // Masked out.
  BackwardFromBoth(tape, wanted, g, h);

  const cuda::CategoricalSizes of{kType, kRows, kWidth, 3, Upload(begins)};
  const T* const x = Upload(logits);
  auto* const drawn = Room<std::int32_t>(kRows * 3);
  float *const drawn_log_probs = Room<float>(kRows), *const got = Room<float>(kRows),
               *const entropy = Room<float>(kRows);
  Must(functions_->SampleCategorical(stream_, {of, x, Upload(keys), drawn, drawn_log_probs}));
  EXPECT_EQ(Download(drawn, kRows * 3), actions);
  auto* const moments = reinterpret_cast<cuda::CategoricalMoments*>(Room<float>(3 * 3 * kRows));
  Must(functions_->CategoricalForward(stream_, {of, x, drawn, got, entropy, moments}));
  ExpectNear(got, wanted.log_probs.data(), kRows, "log_probs");
  ExpectNear(entropy, wanted.entropy.data(), kRows, "entropy");
  ExpectSameBits(drawn_log_probs, Download(got, kRows).data(), kRows, "sampled == trained");
  T* const dx = Room<T>(logits.size());
  Must(functions_->CategoricalBackward(stream_,
                                       {of, x, drawn, moments, Upload(g), Upload(h), dx, false}));
  ExpectNear(dx, tx.gradient_as<T>(), logits.size(), "dlogits");
  Must(functions_->CategoricalMode(stream_, {of, x, drawn}));
  EXPECT_EQ(Download(drawn, kRows * 3), modes);
}

template <class T>
void GpuPolicy::CheckGaussian(bool shared) {
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kRows = 150, kWidth = 6, kCount = kRows * kWidth;
  const std::size_t stds = shared ? kWidth : kCount;
  const auto mean = RandomValues<T>(kCount, 4), log_std = RandomValues<T>(stds, 5, 0.5F);
  const auto keys = KeysOf(kRows);
  std::vector<float> actions(kCount), log_probs(kRows);
  std::vector<float> dshared(kWidth);
  const std::vector<LeafBinding> leaves = {{{kWidth}, log_std.data(), dshared.data(), kType}};
  Tape tape;
  tape.Begin(leaves);
  const Tensor tm = tape.InputWithGradient({kRows, kWidth}, mean.data());
  const Tensor ts =
      shared ? tape.Parameter(0) : tape.InputWithGradient({kRows, kWidth}, log_std.data());
  SampleGaussian(tm, ts, keys, actions, log_probs);
  const LogProbsAndEntropy wanted = ops::DiagonalGaussian(tape, tm, ts, actions);
  const auto g = RandomValues<float>(kRows, 6), h = RandomValues<float>(kRows, 7);
  BackwardFromBoth(tape, wanted, g, h);

  const cuda::GaussianSizes of{kType, kRows, kWidth, shared};
  const T *const m = Upload(mean), *const s = Upload(log_std);
  float *const drawn = Room<float>(kCount), *const drawn_log_probs = Room<float>(kRows),
               *const got = Room<float>(kRows), *const entropy = Room<float>(kRows);
  Must(functions_->SampleGaussian(stream_, {of, m, s, Upload(keys), drawn, drawn_log_probs}));
  ExpectSameBits(drawn, actions.data(), kCount, "actions");
  Must(functions_->GaussianForward(stream_, {of, m, s, drawn, got, entropy}));
  ExpectNear(got, wanted.log_probs.data(), kRows, "log_probs");
  ExpectNear(entropy, wanted.entropy.data(), kRows, "entropy");
  ExpectSameBits(drawn_log_probs, Download(got, kRows).data(), kRows, "sampled == trained");
  T* const dmean = Room<T>(kCount);
  void* const dstd = shared ? static_cast<void*>(Room<float>(kWidth)) : Room<T>(kCount);
  Must(functions_->GaussianBackward(
      stream_, {of, m, s, drawn, Upload(g), Upload(h), dmean, dstd, false, shared}));
  ExpectSameBits(dmean, tm.gradient_as<T>(), kCount, "dmean");
  if (shared) {
    ExpectNear(static_cast<float*>(dstd), dshared.data(), kWidth, "dlog_std");
  } else {
    ExpectSameBits(static_cast<T*>(dstd), ts.gradient_as<T>(), kCount, "dlog_std");
  }
}

MUSTER_TEST_BOTH_TYPES(GpuPolicy, Gaussian) {
  CheckGaussian<T>(false);
  CheckGaussian<T>(true);
}

}  // namespace
}  // namespace muster
