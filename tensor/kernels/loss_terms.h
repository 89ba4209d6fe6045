// One element of a fused loss, on CPU and GPU alike: what is added up and its slopes.
#pragma once

#include <cmath>
#include <cstddef>

#include "base/host_device.h"
#include "tensor/kernels/vector_math.h"

namespace muster::kernels {

// Of one element: what is added up, the loss first, and d loss / d each differentiable input.
template <std::size_t kSums, std::size_t kInputs>
struct LossTerms {
  float sums[kSums];
  float slopes[kInputs];
};

// weight * value, but 0 for a weight of 0 whatever the value is: NaN there is masked out, too.
MUSTER_HOST_DEVICE inline float Weighted(float weight, float value) {
  const float product = weight * value;
  return weight == 0.0F ? 0.0F : product;
}

// Ratios of probabilities stop growing at e^20: logarithms beyond it are taken for 20, with slope
// 0.
inline constexpr float kLogRatioMax = 20.0F;
MUSTER_HOST_DEVICE inline float BoundedLogRatio(float x) {
  return x > kLogRatioMax ? kLogRatioMax : x;
}

// e^x - 1 - x for x <= 88, never negative: near 0 by its series, where the difference would be lost
// in the rounding of e^x.
MUSTER_HOST_DEVICE inline float ExpMinus1MinusX(float x) {
  float p = 1.0F / 40320.0F;
  p = p * x + 1.0F / 5040.0F;
  p = p * x + 1.0F / 720.0F;
  p = p * x + 1.0F / 120.0F;
  p = p * x + 1.0F / 24.0F;
  p = p * x + 1.0F / 6.0F;
  p = p * x + 0.5F;
  const float whole = FastExp(x) - 1.0F - x;
  return std::abs(x) < 0.5F ? p * x * x : whole;
}

}  // namespace muster::kernels
