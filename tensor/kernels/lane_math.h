// The functions of vector_math.h on eight lanes; each lane has the bits of the scalar function.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>

#include "tensor/kernels/lanes.h"

namespace muster::kernels {

// a b + c, rounded once.
inline Lanes MultiplyAdd(Lanes a, Lanes b, Lanes c) { return (Lanes)_mm256_fmadd_ps(a, b, c); }

// e^x for x <= 88; 0 below -87.3.
inline Lanes FastExp(Lanes value) {
  const Lanes lowest = AllLanes(-87.3F);
  const Lanes x = value < lowest ? lowest : value;
  const Lanes shifted = MultiplyAdd(x, AllLanes(1.44269504088896341F), AllLanes(12582912.0F));
  const Lanes n = shifted - 12582912.0F;
  const Lanes r =
      MultiplyAdd(n, AllLanes(2.12194440e-4F), MultiplyAdd(n, AllLanes(-0.693359375F), x));
  Lanes p = AllLanes(1.9875691500e-4F);
  p = MultiplyAdd(p, r, AllLanes(1.3981999507e-3F));
  p = MultiplyAdd(p, r, AllLanes(8.3334519073e-3F));
  p = MultiplyAdd(p, r, AllLanes(4.1665795894e-2F));
  p = MultiplyAdd(p, r, AllLanes(1.6666665459e-1F));
  p = MultiplyAdd(p, r, AllLanes(5.0000001201e-1F));
  p = MultiplyAdd(p * r, r, r) + 1.0F;
  const LaneWords exponent = std::bit_cast<LaneWords>(shifted) << 23U;
  const Lanes power = std::bit_cast<Lanes>(exponent + 0x3F800000U);
  return value < lowest ? Lanes{} : p * power;
}

// The largest of at(i, n) over the lanes' beginnings i = 0, 8, ... below `count` > 0; NaN if one of
// them is. `at` gives lanes as in SumLanes, any value beyond the end.
template <class At>
float MaxLanes(std::size_t count, const At& at) {
  Lanes largest = AllLanes(-std::numeric_limits<float>::infinity());
  __m256 nan = _mm256_setzero_ps();
  ForLanes(count, [&](std::size_t i, std::size_t n) {
    Lanes values = at(i, n);
    for (std::size_t lane = n; lane < kLanes; ++lane) values[lane] = values[0];
    largest = values > largest ? values : largest;
    nan = _mm256_or_ps(nan, _mm256_cmp_ps(values, values, _CMP_UNORD_Q));
  });
  if (_mm256_movemask_ps(nan) != 0) return std::numeric_limits<float>::quiet_NaN();
  const Lanes four = _mm256_max_ps(largest, _mm256_permute2f128_ps(largest, largest, 1));
  const Lanes two = _mm256_max_ps(four, _mm256_permute_ps(four, _MM_SHUFFLE(1, 0, 3, 2)));
  const Lanes one = _mm256_max_ps(two, _mm256_permute_ps(two, _MM_SHUFFLE(2, 3, 0, 1)));
  return one[0];
}

inline constexpr std::size_t kLongRowPart = 4096;

// SumLanes of parts, added in double in their order: for a vocabulary's many terms, of
// which 16 f32 sums would lose some digits.
template <class At>
double SumLongRow(std::size_t count, const At& at) {
  double sum = 0;
  for (std::size_t begin = 0; begin < count; begin += kLongRowPart) {
    sum += static_cast<double>(
        SumLanes(std::min(kLongRowPart, count - begin),
                 [&](std::size_t i, std::size_t n) { return at(begin + i, n); }));
  }
  return sum;
}

}  // namespace muster::kernels
