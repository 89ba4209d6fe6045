#include "tensor/kernels/ppo_loss.h"

#include "tensor/kernels/fused_loss.h"
#include "tensor/kernels/ppo_terms.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Fused losses.

template <class T>
PpoLoss Surrogate(Tape& tape, Tensor log_probs, const PpoSamples& samples, PpoClip clip,
                  float scale) {
  const std::size_t count = log_probs.elements();
  const T* const news = log_probs.as<T>();
  const float* const olds = OnePerElement(samples.old_log_probs, count, "old log-probabilities");
  const float* const advantages = OnePerElement(samples.advantages, count, "advantages");
  const float* const weights = WeightsOr1(tape, samples.weights, count);
  const float low = 1.0F - clip.low, high = 1.0F + clip.high;
  const auto result = FusedLoss<T, 6, 1>(
      tape, {log_probs}, scale, SurrogateTerms<T>{news, olds, advantages, weights, low, high});
  const auto& sums = result.sums;
  return {result.loss, {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]}};
}

template <class T>
ValueLossResult Squares(Tape& tape, Tensor values, std::span<const float> target_span,
                        std::span<const float> weight_span, float scale) {
  const std::size_t count = values.elements();
  const T* const from = values.as<T>();
  const float* const targets = OnePerElement(target_span, count, "targets");
  const float* const weights = WeightsOr1(tape, weight_span, count);
  const auto result =
      FusedLoss<T, 2, 1>(tape, {values}, scale, SquareTerms<T>{from, targets, weights});
  return {result.loss, {result.sums[0], result.sums[1], 0}};
}

template <class T>
ValueLossResult ClippedSquares(Tape& tape, Tensor values, const ValueSamples& samples, float clip,
                               float scale) {
  const std::size_t count = values.elements();
  const T* const from = values.as<T>();
  const float* const olds = OnePerElement(samples.old_values, count, "old values");
  const float* const targets = OnePerElement(samples.targets, count, "targets");
  const float* const weights = WeightsOr1(tape, samples.weights, count);
  const auto result = FusedLoss<T, 3, 1>(tape, {values}, scale,
                                         ClippedSquareTerms<T>{from, olds, targets, weights, clip});
  return {result.loss, {result.sums[0], result.sums[1], result.sums[2]}};
}

}  // namespace

PpoLoss ClippedSurrogate(Tape& tape, Tensor log_probs, const PpoSamples& samples, PpoClip clip,
                         float scale) {
  MUSTER_CHECK(clip.low >= 0 && clip.low <= 1 && clip.high >= 0,
               "clip range " + std::to_string(clip.low) + ", " + std::to_string(clip.high));
  return Dispatch(log_probs.type(), [&](auto element) {
    return Surrogate<decltype(element)>(tape, log_probs, samples, clip, scale);
  });
}

ValueLossResult ValueLoss(Tape& tape, Tensor values, std::span<const float> targets,
                          std::span<const float> weights, float scale) {
  return Dispatch(values.type(), [&](auto element) {
    return Squares<decltype(element)>(tape, values, targets, weights, scale);
  });
}

ValueLossResult ClippedValueLoss(Tape& tape, Tensor values, const ValueSamples& samples, float clip,
                                 float scale) {
  MUSTER_CHECK(clip >= 0, "clip range " + std::to_string(clip));
  return Dispatch(values.type(), [&](auto element) {
    return ClippedSquares<decltype(element)>(tape, values, samples, clip, scale);
  });
}

}  // namespace muster::ops
