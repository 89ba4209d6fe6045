// Estimators of KL(policy || reference) from samples of the policy, to each element or as a loss.
// Source: Schulman, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html, 2020.
//
// With x = reference - policy log-probability of the sampled element:
//   k1 = -x             unbiased, of large variance, may be negative
//   k2 = x^2 / 2        biased, of small variance
//   k3 = e^x - 1 - x    unbiased, of small variance, never negative
// In the reward any of them will do. As a loss, d k / d policy log-probability is 1, -x and 1 -
// e^x: in expectation the gradient of k1 is zero, that of k2 is the gradient of KL(policy ||
// reference) and that of k3 the gradient of KL(reference || policy). In k3, x beyond 20 is taken
// for 20, with slope 0.
#pragma once

#include <span>

#include "tensor/autograd/tape.h"
#include "tensor/kernels/kl_terms.h"

namespace muster::ops {

// The estimate of each element, f32, of log_probs' shape. log_probs are f32 or bf16, reference has
// one value to each. NaN, and two log-probabilities of -infinity, give NaN.
Tensor KlEstimates(Tape& tape, Tensor log_probs, std::span<const float> reference,
                   KlEstimator estimator);

struct KlScore {
  double kl_sum = 0;  // Weighted, not scaled.
  double weight_sum = 0;
};

struct KlLossResult {
  Tensor loss;  // [1], f32: scale * kl_sum.
  KlScore score;
};

// Their weighted sum. Weights have one value to each element, or none for 1 everywhere; an element
// of weight 0 is masked out, whatever it holds.
KlLossResult KlLoss(Tape& tape, Tensor log_probs, std::span<const float> reference,
                    std::span<const float> weights, KlEstimator estimator, float scale);

}  // namespace muster::ops
