#include "tensor/kernels/kl_divergence.h"

#include "tensor/kernels/fused_loss.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Fused losses.

// function(integral_constant of the estimator): the loops over elements hold no choice.
template <class Function>
auto WithEstimator(KlEstimator estimator, const Function& function) {
  switch (estimator) {
    case KlEstimator::kK1:
      return function(std::integral_constant<KlEstimator, KlEstimator::kK1>());
    case KlEstimator::kK2:
      return function(std::integral_constant<KlEstimator, KlEstimator::kK2>());
    case KlEstimator::kK3:
      break;
  }
  return function(std::integral_constant<KlEstimator, KlEstimator::kK3>());
}

template <class T>
struct KlNode {
  Tensor log_probs;
  const float* slopes;

  void Backward(Tape& tape, const float* dy) const {
    const auto sink = tape.SinkFor<T>(log_probs);
    ForBlocks(tape.pool(), log_probs.elements(), kElementBlock,
              [&](std::size_t begin, std::size_t count) {
                for (std::size_t i = begin; i < begin + count; ++i) {
                  const float slope = Weighted(dy[i], slopes[i]);
                  sink.data[i] = T(sink.accumulate ? ToFloat(sink.data[i]) + slope : slope);
                }
              });
  }
};

template <class T, KlEstimator kEstimator>
Tensor Estimates(Tape& tape, Tensor log_probs, std::span<const float> reference) {
  const std::size_t count = log_probs.elements();
  const T* const policy = log_probs.as<T>();
  const float* const references =
      OnePerElement(reference, count, "log-probabilities of the reference");
  Tensor result = tape.NewOutput(log_probs.shape());
  float *const to = result.data(), *const slopes = tape.Scratch<float>({count});
  ForBlocks(tape.pool(), count, kElementBlock, [&](std::size_t begin, std::size_t n) {
    for (std::size_t i = begin; i < begin + n; ++i) {
      const KlEstimate estimate = KlEstimateOf<kEstimator>(references[i] - ToFloat(policy[i]));
      to[i] = estimate.value;
      slopes[i] = estimate.slope;
    }
  });
  if (tape.Records({log_probs})) tape.Record(result, {log_probs}, KlNode<T>{log_probs, slopes});
  return result;
}

template <class T, KlEstimator kEstimator>
KlLossResult Loss(Tape& tape, Tensor log_probs, std::span<const float> reference,
                  std::span<const float> weight_span, float scale) {
  const std::size_t count = log_probs.elements();
  const T* const policy = log_probs.as<T>();
  const float* const references =
      OnePerElement(reference, count, "log-probabilities of the reference");
  const float* const weights = WeightsOr1(tape, weight_span, count);
  const auto result = FusedLoss<T, 2, 1>(tape, {log_probs}, scale,
                                         KlTerms<T, kEstimator>{policy, references, weights});
  return {result.loss, {result.sums[0], result.sums[1]}};
}

}  // namespace

Tensor KlEstimates(Tape& tape, Tensor log_probs, std::span<const float> reference,
                   KlEstimator estimator) {
  return Dispatch(log_probs.type(), [&](auto element) {
    return WithEstimator(estimator, [&](auto chosen) {
      return Estimates<decltype(element), chosen.value>(tape, log_probs, reference);
    });
  });
}

KlLossResult KlLoss(Tape& tape, Tensor log_probs, std::span<const float> reference,
                    std::span<const float> weights, KlEstimator estimator, float scale) {
  return Dispatch(log_probs.type(), [&](auto element) {
    return WithEstimator(estimator, [&](auto chosen) {
      return Loss<decltype(element), chosen.value>(tape, log_probs, reference, weights, scale);
    });
  });
}

}  // namespace muster::ops
