// A total order of a row's elements as one integer each: what top-k and top-p go by.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/host_device.h"

namespace muster::kernels {

// Ascending keys put larger values first, equal ones by ascending index. -0 equals 0; NaN is larger
// than every number.
MUSTER_HOST_DEVICE inline std::uint64_t DescendingKey(float value, std::size_t index) {
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.0F);  // -0 becomes 0.
  const std::uint32_t descending = bits >> 31U != 0 ? bits : ~bits & 0x7FFFFFFFU;
  const bool is_nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
  return static_cast<std::uint64_t>(is_nan ? 0 : descending) << 32U | index;
}
MUSTER_HOST_DEVICE inline std::size_t IndexOf(std::uint64_t key) { return key & 0xFFFFFFFFU; }

}  // namespace muster::kernels
