// The non-linearities' values and slopes of one element, on CPU and GPU alike.
#pragma once

#include <cstdint>

#include "base/host_device.h"
#include "tensor/kernels/vector_math.h"

namespace muster {

enum class Activation : std::uint8_t {
  kNone,
  kRelu,
  kTanh,
  kGelu,
  kGeluTanh,
  kSilu,
  kSigmoid,
  kSoftplus
};

namespace kernels {

inline constexpr float kSqrtHalf = 0.70710678118654752F;
inline constexpr float kInverseSqrtTwoPi = 0.39894228040143268F;
inline constexpr float kSqrtTwoOverPi = 0.79788456080286536F;
inline constexpr float kGeluCubic = 0.044715F;

// Where GELU has its limits, x or 0, exactly; powers of x stay finite up to it.
inline constexpr float kGeluLimit = 100.0F;

MUSTER_HOST_DEVICE inline float GeluSlope(float value) {
  const float x = Clamped(value, kGeluLimit);
  const float density = kInverseSqrtTwoPi * FastExp(-0.5F * x * x);
  return 0.5F * (1.0F + FastErf(x * kSqrtHalf)) + x * density;
}

MUSTER_HOST_DEVICE inline float GeluTanhSlope(float value) {
  const float x = Clamped(value, kGeluLimit);
  const float t = FastTanh(kSqrtTwoOverPi * (x + kGeluCubic * x * x * x));
  const float inner = kSqrtTwoOverPi * (1.0F + 3.0F * kGeluCubic * x * x);
  return 0.5F * (1.0F + t) + 0.5F * x * (1.0F - t * t) * inner;
}

MUSTER_HOST_DEVICE inline float FastGelu(float x) {
  return x < -kGeluLimit ? 0.0F : 0.5F * x * (1.0F + FastErf(x * kSqrtHalf));
}

MUSTER_HOST_DEVICE inline float FastGeluTanh(float x) {
  const float inner = kSqrtTwoOverPi * (x + kGeluCubic * x * x * x);
  return x < -kGeluLimit ? 0.0F : 0.5F * x * (1.0F + FastTanh(inner));
}

// relu, tanh and sigmoid find their slope from their output; the others need their input.
MUSTER_HOST_DEVICE inline bool SlopeNeedsInput(Activation activation) {
  return activation == Activation::kGelu || activation == Activation::kGeluTanh ||
         activation == Activation::kSilu || activation == Activation::kSoftplus;
}

// One element of ActivationForward: for loops whose activation is known only when they run.
MUSTER_HOST_DEVICE inline float ActivationOf(Activation activation, float x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return x < 0.0F ? 0.0F : x;
    case Activation::kTanh:
      return FastTanh(x);
    case Activation::kGelu:
      return FastGelu(x);
    case Activation::kGeluTanh:
      return FastGeluTanh(x);
    case Activation::kSilu:
      return FastSilu(x);
    case Activation::kSigmoid:
      return FastSigmoid(x);
    case Activation::kSoftplus:
      return FastSoftplus(x);
  }
  return x;
}

// One element of ActivationBackward.
MUSTER_HOST_DEVICE inline float ActivationSlope(Activation activation, float saved, float dy) {
  switch (activation) {
    case Activation::kNone:
      return dy;
    case Activation::kRelu:
      return saved > 0.0F ? dy : 0.0F;
    case Activation::kTanh:
      return dy * (1.0F - saved * saved);
    case Activation::kGelu:
      return dy * GeluSlope(saved);
    case Activation::kGeluTanh:
      return dy * GeluTanhSlope(saved);
    case Activation::kSilu:
      return dy * FastSiluSlope(saved);
    case Activation::kSigmoid:
      return dy * (saved * (1.0F - saved));
    case Activation::kSoftplus:
      return dy * FastSigmoid(saved);
  }
  return dy;
}

}  // namespace kernels
}  // namespace muster
