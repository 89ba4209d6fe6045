// Eight f32 at a time, on any x86-64-v3, and sums over many values in a fixed order: 16 partial
// sums of every sixteenth value, added in a fixed tree.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/bfloat16.h"

namespace muster::kernels {

inline constexpr std::size_t kLanes = 8;
using Lanes = float __attribute__((vector_size(32)));
using LaneWords = std::uint32_t __attribute__((vector_size(32)));
using LaneHalves = std::uint16_t __attribute__((vector_size(16)));

inline Lanes AllLanes(float value) {
  return Lanes{value, value, value, value, value, value, value, value};
}

inline Lanes LoadLanes(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof(lanes));
  return lanes;
}
inline Lanes LoadLanes(const BFloat16* from) {
  LaneHalves bits;
  std::memcpy(&bits, from, sizeof(bits));
  const LaneWords words = __builtin_convertvector(bits, LaneWords) << 16U;
  return std::bit_cast<Lanes>(words);
}

inline void StoreLanes(float* to, Lanes lanes) { std::memcpy(to, &lanes, sizeof(lanes)); }
// Rounds as BFloat16's constructor does.
inline void StoreLanes(BFloat16* to, Lanes lanes) {
  const auto words = std::bit_cast<LaneWords>(lanes);
  const LaneWords rounded = (words + 0x7FFFU + ((words >> 16U) & 1U)) >> 16U;
  const LaneWords quiet = (words >> 16U) | 0x40U;
  const LaneWords is_nan = (words & 0x7FFFFFFFU) > 0x7F800000U;
  const LaneWords chosen = is_nan ? quiet : rounded;
  const LaneHalves bits = __builtin_convertvector(chosen, LaneHalves);
  std::memcpy(static_cast<void*>(to), &bits, sizeof(bits));
}

// The first `count` < 8; the others are 0.
template <class T>
Lanes LoadSomeLanes(const T* from, std::size_t count) {
  T whole[kLanes] = {};
  std::copy_n(from, count, whole);
  return LoadLanes(whole);
}
template <class T>
void StoreSomeLanes(T* to, Lanes lanes, std::size_t count) {
  T whole[kLanes];
  StoreLanes(whole, lanes);
  std::copy_n(whole, count, to);
}

// ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)).
inline float SumOf(Lanes lanes) {
  using Four = float __attribute__((vector_size(16)));
  Four low, high;
  std::memcpy(&low, &lanes, sizeof(low));
  std::memcpy(&high, reinterpret_cast<const char*>(&lanes) + sizeof(low), sizeof(high));
  const Four four = low + high;
  return (four[0] + four[2]) + (four[1] + four[3]);
}

// The sum of at(i) over the lanes' beginnings i = 0, 8, ... below `count`; the lanes beyond the end
// must be 0 there. `at(i, n)` gives n <= 8 lanes.
template <class At>
float SumLanes(std::size_t count, const At& at) {
  Lanes even{}, odd{};
  std::size_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    even += at(i, kLanes);
    odd += at(i + kLanes, kLanes);
  }
  if (i + kLanes <= count) {
    even += at(i, kLanes);
    i += kLanes;
    if (i < count) odd += at(i, count - i);
  } else if (i < count) {
    even += at(i, count - i);
  }
  return SumOf(even + odd);
}

template <class T>
Lanes LoadUpTo(const T* from, std::size_t count) {
  return count >= kLanes ? LoadLanes(from) : LoadSomeLanes(from, count);
}
template <class T>
void StoreUpTo(T* to, Lanes lanes, std::size_t count) {
  if (count >= kLanes) {
    StoreLanes(to, lanes);
  } else {
    StoreSomeLanes(to, lanes, count);
  }
}

// body(i, n) for the beginnings i = 0, 8, ... of n <= 8 lanes.
template <class Body>
void ForLanes(std::size_t count, const Body& body) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, kLanes);
  if (i < count) body(i, count - i);
}

}  // namespace muster::kernels
