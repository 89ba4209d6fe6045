// bfloat16: the upper half of an f32. Products of two are exact in f32, sums are made in f32.
#pragma once

#include <bit>
#include <cstdint>

#include "base/host_device.h"

namespace muster {

struct BFloat16 {
  std::uint16_t bits = 0;

  BFloat16() = default;
  // Rounds to nearest, ties to even; a NaN stays one.
  MUSTER_HOST_DEVICE explicit BFloat16(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = word + 0x7FFFU + ((word >> 16U) & 1U);
    const bool nan = (word & 0x7FFFFFFFU) > 0x7F800000U;
    bits = static_cast<std::uint16_t>(nan ? (word >> 16U) | 0x40U : rounded >> 16U);
  }

  MUSTER_HOST_DEVICE explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
  }
};
static_assert(sizeof(BFloat16) == 2);

MUSTER_HOST_DEVICE inline float ToFloat(float value) { return value; }
MUSTER_HOST_DEVICE inline float ToFloat(BFloat16 value) { return static_cast<float>(value); }

// What a tensor's elements are.
enum class DType : std::uint8_t { kF32, kBF16 };

template <class T>
inline constexpr DType kDTypeOf = DType::kF32;
template <>
inline constexpr DType kDTypeOf<BFloat16> = DType::kBF16;

constexpr std::uint64_t SizeOf(DType type) { return type == DType::kF32 ? 4 : 2; }
constexpr const char* NameOf(DType type) { return type == DType::kF32 ? "f32" : "bf16"; }

// function(float()) or function(BFloat16()).
template <class Function>
decltype(auto) Dispatch(DType type, const Function& function) {
  if (type == DType::kF32) return function(float());
  return function(BFloat16());
}

}  // namespace muster
