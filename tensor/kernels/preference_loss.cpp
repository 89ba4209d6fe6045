#include "tensor/kernels/preference_loss.h"

#include "tensor/kernels/fused_loss.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Fused losses.

struct Loss {
  float value, slope;  // d value / d (chosen - rejected).
};

void CheckPairs(const Tensor& chosen, const Tensor& rejected) {
  MUSTER_CHECK(
      chosen.shape() == rejected.shape(),
      "chosen " + chosen.shape().ToString() + " and rejected " + rejected.shape().ToString());
  MUSTER_CHECK(chosen.type() == rejected.type(), std::string("chosen of ") + NameOf(chosen.type()) +
                                                     " and rejected of " + NameOf(rejected.type()));
}

// rewards(i, chosen, rejected) gives the two rewards of a pair, loss(i, chosen, rejected) its Loss.
template <class Rewards, class LossOf>
PreferenceLoss OverPairs(Tape& tape, Tensor chosen, Tensor rejected, float scale,
                         const Rewards& rewards, const LossOf& loss_of) {
  return Dispatch(chosen.type(), [&](auto element) -> PreferenceLoss {
    using T = decltype(element);
    const T *const good = chosen.as<T>(), *const bad = rejected.as<T>();
    const auto result = FusedLoss<T, 4, 2>(tape, {chosen, rejected}, scale, [=](std::size_t i) {
      const float a = ToFloat(good[i]), b = ToFloat(bad[i]);
      const auto [good_reward, bad_reward] = rewards(i, a, b);
      const Loss loss = loss_of(i, a, b);
      return LossTerms<4, 2>{
          {loss.value, good_reward > bad_reward ? 1.0F : 0.0F, good_reward, bad_reward},
          {loss.slope, -loss.slope}};
    });
    return {result.loss, {result.sums[0], result.sums[1], result.sums[2], result.sums[3]}};
  });
}

struct Pair {
  float chosen, rejected;
};

template <class LossOf>
PreferenceLoss AgainstReference(Tape& tape, Tensor chosen, Tensor rejected,
                                const ReferenceLogProbs& reference, float beta, float scale,
                                const LossOf& loss_of) {
  CheckPairs(chosen, rejected);
  MUSTER_CHECK(beta > 0, "beta " + std::to_string(beta));
  const float* const good =
      OnePerElement(reference.chosen, chosen.elements(), "chosen log-probabilities");
  const float* const bad =
      OnePerElement(reference.rejected, chosen.elements(), "rejected log-probabilities");
  return OverPairs(
      tape, chosen, rejected, scale,
      [=](std::size_t i, float a, float b) {
        return Pair{beta * (a - good[i]), beta * (b - bad[i])};
      },
      [=](std::size_t i, float a, float b) { return loss_of((a - good[i]) - (b - bad[i])); });
}

}  // namespace

PreferenceLoss BradleyTerryLoss(Tape& tape, Tensor chosen, Tensor rejected,
                                std::span<const float> margins, float scale) {
  CheckPairs(chosen, rejected);
  const std::size_t count = chosen.elements();
  float* const none = margins.empty() ? tape.arena().Floats(count) : nullptr;
  if (none != nullptr) std::fill_n(none, count, 0.0F);
  const float* const margin = none != nullptr ? none : OnePerElement(margins, count, "margins");
  return OverPairs(
      tape, chosen, rejected, scale,
      [](std::size_t, float a, float b) {
        return Pair{a, b};
      },
      [=](std::size_t i, float a, float b) {
        const float lead = a - b - margin[i];
        return Loss{FastSoftplus(-lead), -FastSigmoid(-lead)};
      });
}

PreferenceLoss DpoLoss(Tape& tape, Tensor chosen, Tensor rejected,
                       const ReferenceLogProbs& reference, const DpoOptions& options, float scale) {
  const float beta = options.beta, wrong = options.label_smoothing;
  MUSTER_CHECK(wrong >= 0 && wrong < 0.5F, "label smoothing " + std::to_string(wrong));
  return AgainstReference(tape, chosen, rejected, reference, beta, scale, [=](float h) {
    const float u = beta * h;
    // softplus(-u) = softplus(u) - u: the smoothed loss is the plain one + wrong * u.
    return Loss{FastSoftplus(-u) + Weighted(wrong, u), beta * (wrong - FastSigmoid(-u))};
  });
}

PreferenceLoss IpoLoss(Tape& tape, Tensor chosen, Tensor rejected,
                       const ReferenceLogProbs& reference, float beta, float scale) {
  return AgainstReference(tape, chosen, rejected, reference, beta, scale, [=](float h) {
    const float distance = h - 0.5F / beta;
    return Loss{distance * distance, 2.0F * distance};
  });
}

}  // namespace muster::ops
