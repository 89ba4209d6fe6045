// Many consecutive blocks of Philox 4x32-10 at a time, in loops that vectorise.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/random_key.h"

namespace muster::kernels {

inline constexpr std::size_t kPhiloxBlocks = 64;  // That are made together.
inline constexpr std::size_t kPhiloxWords = 4 * kPhiloxBlocks;

// words[4 b + w] = word w of the block with index first_block + b; the rest of the counter is the
// key's, whose own index is not used.
inline void FillPhilox(const RandomKey& key, std::uint64_t first_block, std::uint32_t* words) {
  std::uint32_t a[kPhiloxBlocks], b[kPhiloxBlocks], c[kPhiloxBlocks], d[kPhiloxBlocks];
  for (std::size_t i = 0; i < kPhiloxBlocks; ++i) {
    const std::uint64_t index = first_block + i;
    a[i] = static_cast<std::uint32_t>(index);
    b[i] = static_cast<std::uint32_t>(index >> 32U);
    c[i] = key.lane;
    d[i] = static_cast<std::uint32_t>(key.purpose);
  }
  auto low = static_cast<std::uint32_t>(key.seed),
       high = static_cast<std::uint32_t>(key.seed >> 32U);
  for (int round = 0; round < 10; ++round) {
    for (std::size_t i = 0; i < kPhiloxBlocks; ++i) {
      const std::uint64_t first = std::uint64_t{0xD2511F53U} * a[i];
      const std::uint64_t second = std::uint64_t{0xCD9E8D57U} * c[i];
      a[i] = static_cast<std::uint32_t>(second >> 32U) ^ b[i] ^ low;
      c[i] = static_cast<std::uint32_t>(first >> 32U) ^ d[i] ^ high;
      b[i] = static_cast<std::uint32_t>(second);
      d[i] = static_cast<std::uint32_t>(first);
    }
    low += 0x9E3779B9U;
    high += 0xBB67AE85U;
  }
  for (std::size_t i = 0; i < kPhiloxBlocks; ++i) {
    words[4 * i] = a[i];
    words[4 * i + 1] = b[i];
    words[4 * i + 2] = c[i];
    words[4 * i + 3] = d[i];
  }
}

}  // namespace muster::kernels
