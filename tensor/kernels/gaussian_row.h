// One element of a diagonal Gaussian, on CPU and GPU alike.
#pragma once

#include "base/host_device.h"
#include "tensor/kernels/vector_math.h"

namespace muster::kernels {

inline constexpr float kHalfLogTwoPi = 0.918938533204672742F;
// The exponential of this and its reciprocal are both normal f32.
inline constexpr float kLogStdBound = 87.0F;

MUSTER_HOST_DEVICE inline float GaussianDeviation(float log_std) {
  return FastExp(Clamped(log_std, kLogStdBound));
}
MUSTER_HOST_DEVICE inline float InverseDeviation(float log_std) {
  return FastExp(-Clamped(log_std, kLogStdBound));
}

struct GaussianElement {
  float log_prob, entropy;
};
MUSTER_HOST_DEVICE inline GaussianElement GaussianOf(float mean, float log_std, float action) {
  const float z = (action - mean) * InverseDeviation(log_std);
  return {-0.5F * z * z - log_std - kHalfLogTwoPi, log_std + (0.5F + kHalfLogTwoPi)};
}

// d log-prob / d mean = z / deviation, d log-prob / d log_std = z^2 - 1, d entropy / d log_std = 1,
// times g and h, the gradients of log-probability and entropy.
struct GaussianSlopes {
  float mean, log_std;
};
MUSTER_HOST_DEVICE inline GaussianSlopes GaussianSlopesOf(float mean, float log_std, float action,
                                                          float g, float h) {
  const float inverse = InverseDeviation(log_std);
  const float z = (action - mean) * inverse;
  return {g * z * inverse, g * (z * z - 1.0F) + h};
}

}  // namespace muster::kernels
