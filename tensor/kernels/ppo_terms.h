// One element of each of ppo_loss.h's losses, on CPU and GPU alike.
#pragma once

#include <cmath>
#include <cstddef>

#include "base/host_device.h"
#include "tensor/bfloat16.h"
#include "tensor/kernels/loss_terms.h"

namespace muster::kernels {

// Sums: loss, weight, k1, k3, ratio, clipped.
template <class T>
struct SurrogateTerms {
  const T* log_probs;
  const float *old_log_probs, *advantages, *weights;
  float low, high;  // Of the ratio.

  MUSTER_HOST_DEVICE LossTerms<6, 1> operator()(std::size_t i) const {
    const float w = weights[i], advantage = advantages[i];
    const float x = ToFloat(log_probs[i]) - old_log_probs[i];
    const float bounded = BoundedLogRatio(x);
    const float ratio = FastExp(bounded);
    const float at_most = ratio > high ? high : ratio;
    const float clipped = at_most < low ? low : at_most;
    const float free_gain = ratio * advantage, clipped_gain = clipped * advantage;
    const bool held = free_gain > clipped_gain;  // NaN is not held and so passed on.
    const float gain = held ? clipped_gain : free_gain;
    const float slope = held || x > kLogRatioMax ? 0.0F : -free_gain;
    const float outside = ratio < low || ratio > high ? 1.0F : 0.0F;
    return {{Weighted(w, -gain), w, Weighted(w, -x), Weighted(w, ExpMinus1MinusX(bounded)),
             Weighted(w, ratio), Weighted(w, outside)},
            {Weighted(w, slope)}};
  }
};

// Sums: loss, weight.
template <class T>
struct SquareTerms {
  const T* values;
  const float *targets, *weights;

  MUSTER_HOST_DEVICE LossTerms<2, 1> operator()(std::size_t i) const {
    const float w = weights[i], error = ToFloat(values[i]) - targets[i];
    return {{Weighted(w, 0.5F * error * error), w}, {Weighted(w, error)}};
  }
};

// Sums: loss, weight, clipped.
template <class T>
struct ClippedSquareTerms {
  const T* values;
  const float *old_values, *targets, *weights;
  float clip;

  MUSTER_HOST_DEVICE LossTerms<3, 1> operator()(std::size_t i) const {
    const float w = weights[i], value = ToFloat(values[i]);
    const float step = value - old_values[i];
    const float error = value - targets[i];
    const float held_error = old_values[i] + Clamped(step, clip) - targets[i];
    const float square = error * error, held_square = held_error * held_error;
    const bool free = square >= held_square;  // NaN is not, so an old value of NaN shows.
    const bool outside = std::abs(step) > clip;
    const float larger = free ? square : held_square;
    const float held_slope = outside ? 0.0F : held_error;
    return {{Weighted(w, 0.5F * larger), w, Weighted(w, !free && outside ? 1.0F : 0.0F)},
            {Weighted(w, free ? error : held_slope)}};
  }
};

}  // namespace muster::kernels
