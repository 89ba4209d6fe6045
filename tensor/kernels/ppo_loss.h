// Losses of proximal policy optimisation, fused: PPO's clipped surrogate and the value loss, each
// with its statistics.
// Sources: Schulman et al., arXiv:1707.06347, equation 7; the value loss as OpenAI Baselines' PPO2
// and CleanRL clip it; separate clip ranges as in Yu et al., arXiv:2503.14476, section 3.1.
//
// Weights have one element to each of the batch, or none for 1 everywhere; an element of weight 0
// is masked out: whatever it holds, NaN as well, has no part in values, gradients or statistics.
// Losses are sums times `scale`, so the losses of lanes add: scale = 1 / (the weight of the global
// batch) makes their sum the mean. Sums are in double and unscaled, so lanes' statistics add too.
// Tensors are f32 or bf16 of any shape, spans f32 with as many elements. NaN is passed on.
#pragma once

#include <span>

#include "tensor/autograd/tape.h"

namespace muster::ops {

struct PpoSamples {
  std::span<const float> old_log_probs;  // Of the policy that acted.
  std::span<const float> advantages;
  std::span<const float> weights;
};

// The ratio is clipped to [1 - low, 1 + high]; both >= 0, low <= 1.
struct PpoClip {
  float low = 0.2F;
  float high = 0.2F;
};

// Weighted sums; by weight_sum they are means. x is ln ratio = new - old log-probability.
struct PpoScore {
  double loss_sum = 0;
  double weight_sum = 0;
  double kl_k1_sum = 0;  // -x.
  double kl_k3_sum = 0;  // e^x - 1 - x, of less variance and never negative (kl_divergence.h).
  double ratio_sum = 0;
  double clipped_sum = 0;  // 1 where the ratio is out of the clip range.
};

struct PpoLoss {
  Tensor loss;  // [1], f32.
  PpoScore score;
};

// loss = scale * sum of weight * -min(ratio * advantage, clipped ratio * advantage), ratio =
// e^(log_prob - old_log_prob). Beyond e^20 the ratio stops growing and has slope 0.
PpoLoss ClippedSurrogate(Tape& tape, Tensor log_probs, const PpoSamples& samples, PpoClip clip,
                         float scale);

struct ValueScore {
  double loss_sum = 0;
  double weight_sum = 0;
  double clipped_sum = 0;  // 1 where the clipped value's error counts.
};

struct ValueLossResult {
  Tensor loss;  // [1], f32.
  ValueScore score;
};

// loss = scale * sum of weight * (value - target)^2 / 2; targets are the returns.
ValueLossResult ValueLoss(Tape& tape, Tensor values, std::span<const float> targets,
                          std::span<const float> weights, float scale);

// The larger of that and of the same with the value held within `clip` >= 0 of the old one. Where
// the held value counts the slope is 0.
struct ValueSamples {
  std::span<const float> old_values, targets, weights;
};
ValueLossResult ClippedValueLoss(Tape& tape, Tensor values, const ValueSamples& samples, float clip,
                                 float scale);

}  // namespace muster::ops
