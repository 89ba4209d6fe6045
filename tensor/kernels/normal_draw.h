// Standard normal numbers from random bits, with the same bits on every machine.
// Source: Box and Muller, "A note on the generation of random normal deviates", 1958; the
// polynomials are those of Cephes' sinf and cosf.
#pragma once

#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include "base/philox.h"
#include "tensor/kernels/vector_math.h"

namespace muster::kernels {

struct SineAndCosine {
  float sine, cosine;
};

// Of `turns` full turns, in [0, 1].
MUSTER_HOST_DEVICE inline SineAndCosine SineAndCosineOfTurns(float turns) {
  const auto quarter = static_cast<int>(4.0F * turns + 0.5F);
  const float x = (turns - 0.25F * static_cast<float>(quarter)) * (2 * std::numbers::pi_v<float>);
  const float s = x * x;
  float sine = -1.9515295891e-4F;
  sine = sine * s + 8.3321608736e-3F;
  sine = sine * s + -1.6666654611e-1F;
  sine = sine * s * x + x;
  float cosine = 2.443315711809948e-5F;
  cosine = cosine * s + -1.388731625493765e-3F;
  cosine = cosine * s + 4.166664568298827e-2F;
  cosine = cosine * s * s - 0.5F * s + 1.0F;
  if (quarter % 2 != 0) {  // sin(x + 90 degrees) = cos x, cos(x + 90 degrees) = -sin x.
    std::swap(sine, cosine);
    cosine = -cosine;
  }
  if (quarter % 4 >= 2) return {-sine, -cosine};
  return {sine, cosine};
}

// Two independent normal numbers from 64 random bits; none is beyond 6.8, where 1e-11 of the mass
// lies.
MUSTER_HOST_DEVICE inline std::array<float, 2> NormalPair(std::uint32_t radius_bits,
                                                          std::uint32_t angle_bits) {
  const float above_0 = static_cast<float>(radius_bits) * 0x1p-32F + 0x1p-33F;  // (0, 1].
  const float radius = std::sqrt(-2.0F * FastLog(above_0));
  const SineAndCosine direction = SineAndCosineOfTurns(UnitFloat(angle_bits));
  return {radius * direction.cosine, radius * direction.sine};
}

MUSTER_HOST_DEVICE inline std::array<float, 4> NormalDraws(const PhiloxBlock& block) {
  const auto a = NormalPair(block[0], block[1]), b = NormalPair(block[2], block[3]);
  return {a[0], a[1], b[0], b[1]};
}

}  // namespace muster::kernels
