// The place of a draw in the counter-based streams of base/philox.h, chosen by the caller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/philox.h"

namespace muster {

struct RandomKey {
  std::uint64_t seed = 0;
  RandomPurpose purpose = RandomPurpose::kDropout;
  std::uint32_t lane = 0;
  std::uint64_t index = 0;  // Of the draw, or of the first of several.
};

MUSTER_HOST_DEVICE inline PhiloxBlock RandomBlock(const RandomKey& key) {
  return RandomBlock(key.seed, key.purpose, key.lane, key.index);
}

// Block `block` < `blocks` of a draw that takes so many: the key's index stands for one draw.
MUSTER_HOST_DEVICE inline PhiloxBlock DrawBlock(RandomKey key, std::size_t blocks,
                                                std::size_t block) {
  key.index = key.index * blocks + block;
  return RandomBlock(key);
}

// [0, 1) from the upper 53 of 64 bits: every value is exact in double.
MUSTER_HOST_DEVICE inline double UnitDouble(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (static_cast<std::uint64_t>(high) << 32U) | low;
  return static_cast<double>(bits >> 11U) * (1.0 / 9007199254740992.0);
}

}  // namespace muster
