// Inline f32 functions without branches or library calls, so that loops over them vectorise.
// tanh and erf: rational minimax approximations (the coefficients of Eigen's
// generic_fast_tanh_float and generic_fast_erf_float), within a few units in the last place.
// exp and log: the polynomials of Cephes' expf and logf.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/host_device.h"

namespace muster::kernels {

// a b + c, rounded once.
MUSTER_HOST_DEVICE inline float MultiplyAdd(float a, float b, float c) { return fmaf(a, b, c); }

// NaN compares false, so both forms let it through.
MUSTER_HOST_DEVICE inline float Clamped(float x, float bound) {
  const float upper = x > bound ? bound : x;
  return upper < -bound ? -bound : upper;
}

// Beyond `bound` the function is 1 with its argument's sign, exactly: 1 - y^2 times a large number
// must be 0 there.
MUSTER_HOST_DEVICE inline float Saturated(float y, float value, float bound) {
  const float upper = value >= bound ? 1.0F : y;
  return value <= -bound ? -1.0F : upper;
}

MUSTER_HOST_DEVICE inline float FastTanh(float value) {
  constexpr float kBound = 7.90531110763549805F;
  const float x = Clamped(value, kBound);
  const float s = x * x;
  float p = -2.76076847742355e-16F;
  p = MultiplyAdd(p, s, 2.00018790482477e-13F);
  p = MultiplyAdd(p, s, -8.60467152213735e-11F);
  p = MultiplyAdd(p, s, 5.12229709037114e-08F);
  p = MultiplyAdd(p, s, 1.48572235717979e-05F);
  p = MultiplyAdd(p, s, 6.37261928875436e-04F);
  p = MultiplyAdd(p, s, 4.89352455891786e-03F);
  float q = 1.19825839466702e-06F;
  q = MultiplyAdd(q, s, 1.18534705686654e-04F);
  q = MultiplyAdd(q, s, 2.26843463243900e-03F);
  q = MultiplyAdd(q, s, 4.89352518554385e-03F);
  return Saturated(x * p / q, value, kBound);
}

MUSTER_HOST_DEVICE inline float FastErf(float value) {
  constexpr float kBound = 4.0F;
  const float x = Clamped(value, kBound);
  const float s = x * x;
  float p = -2.72614225801306e-10F;
  p = MultiplyAdd(p, s, 2.77068142495902e-08F);
  p = MultiplyAdd(p, s, -2.10102402082508e-06F);
  p = MultiplyAdd(p, s, -5.69250639462346e-05F);
  p = MultiplyAdd(p, s, -7.34990630326855e-04F);
  p = MultiplyAdd(p, s, -2.95459980854025e-03F);
  p = MultiplyAdd(p, s, -1.60960333262415e-02F);
  float q = -1.45660718464996e-05F;
  q = MultiplyAdd(q, s, -2.13374055278905e-04F);
  q = MultiplyAdd(q, s, -1.68282697438203e-03F);
  q = MultiplyAdd(q, s, -7.37332916720468e-03F);
  q = MultiplyAdd(q, s, -1.42647390514189e-02F);
  return Saturated(x * p / q, value, kBound);
}

// e^x for x <= 88; 0 below -87.3. Cody-Waite reduction by ln 2, then the polynomial.
MUSTER_HOST_DEVICE inline float FastExp(float value) {
  const float x = value < -87.3F ? -87.3F : value;
  // Adding 1.5 * 2^23 rounds to an integer.
  const float shifted = MultiplyAdd(x, 1.44269504088896341F, 12582912.0F);
  const float n = shifted - 12582912.0F;
  const float r = MultiplyAdd(n, 2.12194440e-4F, MultiplyAdd(n, -0.693359375F, x));
  float p = 1.9875691500e-4F;
  p = MultiplyAdd(p, r, 1.3981999507e-3F);
  p = MultiplyAdd(p, r, 8.3334519073e-3F);
  p = MultiplyAdd(p, r, 4.1665795894e-2F);
  p = MultiplyAdd(p, r, 1.6666665459e-1F);
  p = MultiplyAdd(p, r, 5.0000001201e-1F);
  p = MultiplyAdd(p * r, r, r) + 1.0F;
  const auto exponent = static_cast<std::uint32_t>(std::bit_cast<std::int32_t>(shifted)) << 23U;
  const float power = std::bit_cast<float>(exponent + 0x3F800000U);
  return value < -87.3F ? 0.0F : p * power;
}

// ln x for x from 2^-126 on, finite.
MUSTER_HOST_DEVICE inline float FastLogOfNormal(float x) {
  constexpr std::uint32_t kSqrtHalf = 0x3F3504F3U;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  // x = 2^exponent (1 + r) with 1 + r from sqrt(1/2) to sqrt 2.
  const std::int32_t exponent = std::bit_cast<std::int32_t>(bits - kSqrtHalf) >> 23;
  const std::uint32_t mantissa = bits - (static_cast<std::uint32_t>(exponent) << 23U);
  const float r = std::bit_cast<float>(mantissa) - 1.0F;
  const auto n = static_cast<float>(exponent);
  const float s = r * r;
  float p = 7.0376836292e-2F;
  p = MultiplyAdd(p, r, -1.1514610310e-1F);
  p = MultiplyAdd(p, r, 1.1676998740e-1F);
  p = MultiplyAdd(p, r, -1.2420140846e-1F);
  p = MultiplyAdd(p, r, 1.4249322787e-1F);
  p = MultiplyAdd(p, r, -1.6668057665e-1F);
  p = MultiplyAdd(p, r, 2.0000714765e-1F);
  p = MultiplyAdd(p, r, -2.4999993993e-1F);
  p = MultiplyAdd(p, r, 3.3333331174e-1F);
  p = MultiplyAdd(-0.5F, s, MultiplyAdd(p * r, s, n * -2.12194440e-4F));
  return MultiplyAdd(n, 0.693359375F, r + p);
}

// ln x; -infinity for x from 0 to 2^-126, NaN below 0.
MUSTER_HOST_DEVICE inline float FastLog(float x) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float log = FastLogOfNormal(x);
  const float at_least_0 = x < std::numeric_limits<float>::min() ? -kInfinity : log;
  const float any = x < 0.0F ? std::numeric_limits<float>::quiet_NaN() : at_least_0;
  return x < kInfinity ? any : x;  // NaN compares false.
}

// ln(1 + x) for x >= 0, as exact for a small x: what rounding takes from 1 + x is put back.
MUSTER_HOST_DEVICE inline float FastLog1p(float x) {
  const float sum = 1.0F + x;
  const float log = FastLogOfNormal(sum) + (x - (sum - 1.0F)) / sum;
  return x < std::numeric_limits<float>::infinity() ? log : x;
}

// 1 / (1 + e^-x), as exact near 0 as near 1; 0 below -87.3.
MUSTER_HOST_DEVICE inline float FastSigmoid(float x) {
  const float e = FastExp(-std::abs(x));
  return (x < 0.0F ? e : 1.0F) / (1.0F + e);
}

MUSTER_HOST_DEVICE inline float FastSilu(float x) { return x * FastSigmoid(x); }

// d silu / dx = s (1 + x (1 - s)) with s = sigmoid(x) and 1 - s = sigmoid(-x).
MUSTER_HOST_DEVICE inline float FastSiluSlope(float x) {
  const float e = FastExp(-std::abs(x));
  const float larger = 1.0F / (1.0F + e), smaller = e * larger;
  const float s = x < 0.0F ? smaller : larger;
  return s * (1.0F + x * (x < 0.0F ? larger : smaller));
}

// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|).
MUSTER_HOST_DEVICE inline float FastSoftplus(float x) {
  return (x < 0.0F ? 0.0F : x) + FastLog1p(FastExp(-std::abs(x)));
}

}  // namespace muster::kernels
