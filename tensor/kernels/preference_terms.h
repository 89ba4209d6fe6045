// One pair of each of preference_loss.h's losses, on CPU and GPU alike. Sums: loss, correct, chosen
// reward, rejected reward; slopes: of chosen, of rejected.
#pragma once

#include <cstddef>

#include "base/host_device.h"
#include "tensor/bfloat16.h"
#include "tensor/kernels/loss_terms.h"

namespace muster::kernels {

using PairTerms = LossTerms<4, 2>;

// `slope` is d loss / d (chosen - rejected).
MUSTER_HOST_DEVICE inline PairTerms TermsOfPair(float loss, float slope, float chosen_reward,
                                                float rejected_reward) {
  return {{loss, chosen_reward > rejected_reward ? 1.0F : 0.0F, chosen_reward, rejected_reward},
          {slope, -slope}};
}

template <class T>
struct BradleyTerryTerms {
  const T *chosen, *rejected;
  const float* margins;

  MUSTER_HOST_DEVICE PairTerms operator()(std::size_t i) const {
    const float a = ToFloat(chosen[i]), b = ToFloat(rejected[i]);
    const float lead = a - b - margins[i];
    return TermsOfPair(FastSoftplus(-lead), -FastSigmoid(-lead), a, b);
  }
};

// Log-probabilities of the policy and of the frozen reference.
template <class T>
struct PairsOfTwo {
  const T *chosen, *rejected;
  const float *chosen_reference, *rejected_reference;

  MUSTER_HOST_DEVICE float ChosenGain(std::size_t i) const {
    return ToFloat(chosen[i]) - chosen_reference[i];
  }
  MUSTER_HOST_DEVICE float RejectedGain(std::size_t i) const {
    return ToFloat(rejected[i]) - rejected_reference[i];
  }
};

template <class T>
struct DpoTerms {
  PairsOfTwo<T> pairs;
  float beta, wrong;

  MUSTER_HOST_DEVICE PairTerms operator()(std::size_t i) const {
    const float good = pairs.ChosenGain(i), bad = pairs.RejectedGain(i);
    const float u = beta * (good - bad);
    // softplus(-u) = softplus(u) - u: the smoothed loss is the plain one + wrong * u.
    return TermsOfPair(FastSoftplus(-u) + Weighted(wrong, u), beta * (wrong - FastSigmoid(-u)),
                       beta * good, beta * bad);
  }
};

template <class T>
struct IpoTerms {
  PairsOfTwo<T> pairs;
  float beta;

  MUSTER_HOST_DEVICE PairTerms operator()(std::size_t i) const {
    const float good = pairs.ChosenGain(i), bad = pairs.RejectedGain(i);
    const float distance = good - bad - 0.5F / beta;
    return TermsOfPair(distance * distance, 2.0F * distance, beta * good, beta * bad);
  }
};

}  // namespace muster::kernels
