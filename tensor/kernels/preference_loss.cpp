#include "tensor/kernels/preference_loss.h"

#include "tensor/kernels/fused_loss.h"
#include "tensor/kernels/preference_terms.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Fused losses.

void CheckPairs(const Tensor& chosen, const Tensor& rejected) {
  MUSTER_CHECK(
      chosen.shape() == rejected.shape(),
      "chosen " + chosen.shape().ToString() + " and rejected " + rejected.shape().ToString());
  MUSTER_CHECK(chosen.type() == rejected.type(), std::string("chosen of ") + NameOf(chosen.type()) +
                                                     " and rejected of " + NameOf(rejected.type()));
}

template <class T, class Terms>
PreferenceLoss OverPairs(Tape& tape, Tensor chosen, Tensor rejected, float scale,
                         const Terms& terms) {
  const auto result = FusedLoss<T, 4, 2>(tape, {chosen, rejected}, scale, terms);
  return {result.loss, {result.sums[0], result.sums[1], result.sums[2], result.sums[3]}};
}

void CheckReference(const Tensor& chosen, const Tensor& rejected,
                    const ReferenceLogProbs& reference, float beta) {
  CheckPairs(chosen, rejected);
  MUSTER_CHECK(beta > 0, "beta " + std::to_string(beta));
  OnePerElement(reference.chosen, chosen.elements(), "chosen log-probabilities");
  OnePerElement(reference.rejected, chosen.elements(), "rejected log-probabilities");
}

template <class T>
PairsOfTwo<T> PairsOf(Tensor chosen, Tensor rejected, const ReferenceLogProbs& reference) {
  return {chosen.as<T>(), rejected.as<T>(), reference.chosen.data(), reference.rejected.data()};
}

}  // namespace

PreferenceLoss BradleyTerryLoss(Tape& tape, Tensor chosen, Tensor rejected,
                                std::span<const float> margins, float scale) {
  CheckPairs(chosen, rejected);
  const std::size_t count = chosen.elements();
  float* const none = margins.empty() ? tape.Scratch<float>({count}) : nullptr;
  if (none != nullptr) std::fill_n(none, count, 0.0F);
  const float* const margin = none != nullptr ? none : OnePerElement(margins, count, "margins");
  return Dispatch(chosen.type(), [&](auto element) {
    using T = decltype(element);
    return OverPairs<T>(tape, chosen, rejected, scale,
                        BradleyTerryTerms<T>{chosen.as<T>(), rejected.as<T>(), margin});
  });
}

PreferenceLoss DpoLoss(Tape& tape, Tensor chosen, Tensor rejected,
                       const ReferenceLogProbs& reference, const DpoOptions& options, float scale) {
  const float beta = options.beta, wrong = options.label_smoothing;
  MUSTER_CHECK(wrong >= 0 && wrong < 0.5F, "label smoothing " + std::to_string(wrong));
  CheckReference(chosen, rejected, reference, beta);
  return Dispatch(chosen.type(), [&](auto element) {
    using T = decltype(element);
    return OverPairs<T>(tape, chosen, rejected, scale,
                        DpoTerms<T>{PairsOf<T>(chosen, rejected, reference), beta, wrong});
  });
}

PreferenceLoss IpoLoss(Tape& tape, Tensor chosen, Tensor rejected,
                       const ReferenceLogProbs& reference, float beta, float scale) {
  CheckReference(chosen, rejected, reference, beta);
  return Dispatch(chosen.type(), [&](auto element) {
    using T = decltype(element);
    return OverPairs<T>(tape, chosen, rejected, scale,
                        IpoTerms<T>{PairsOf<T>(chosen, rejected, reference), beta});
  });
}

}  // namespace muster::ops
