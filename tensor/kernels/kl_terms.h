// One element of kl_divergence.h's estimates and loss, on CPU and GPU alike.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "tensor/bfloat16.h"
#include "tensor/kernels/loss_terms.h"

namespace muster {

namespace ops {

enum class KlEstimator : std::uint8_t { kK1, kK2, kK3 };

}  // namespace ops

namespace kernels {

struct KlEstimate {
  float value, slope;  // d value / d log-probability of the policy.
};

// x = reference - policy log-probability. A call in a loop would keep it from being vectorised.
template <ops::KlEstimator kEstimator>
[[gnu::always_inline]] MUSTER_HOST_DEVICE inline KlEstimate KlEstimateOf(float x) {
  if constexpr (kEstimator == ops::KlEstimator::kK1) {
    return {-x, 1.0F};
  } else if constexpr (kEstimator == ops::KlEstimator::kK2) {
    return {0.5F * x * x, -x};
  } else {
    const float bounded = BoundedLogRatio(x);
    const float value = ExpMinus1MinusX(bounded);
    // 1 - e^x, near 0 without the rounding of e^x.
    const float whole = 1.0F - FastExp(bounded);
    const float slope = std::abs(x) < 0.5F ? -(x + value) : whole;
    return {value, x > kLogRatioMax ? 0.0F : slope};
  }
}

// Sums: loss, weight.
template <class T, ops::KlEstimator kEstimator>
struct KlTerms {
  const T* log_probs;
  const float *reference, *weights;

  MUSTER_HOST_DEVICE LossTerms<2, 1> operator()(std::size_t i) const {
    const KlEstimate estimate = KlEstimateOf<kEstimator>(reference[i] - ToFloat(log_probs[i]));
    const float w = weights[i];
    return {{Weighted(w, estimate.value), w}, {Weighted(w, estimate.slope)}};
  }
};

}  // namespace kernels
}  // namespace muster
