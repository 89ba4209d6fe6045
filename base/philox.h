// Counter-based random numbers: Philox 4x32-10.
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11, section 4.
//
// A number depends only on (seed, purpose, lane, index), so it is the same on any rank or thread
// and needs no state in a checkpoint beyond its index.
#pragma once

#include <array>
#include <cstdint>

#include "base/host_device.h"

namespace muster {

// What a stream of random numbers is for; part of the counter, so values are never reused.
enum class RandomPurpose : std::uint32_t {
  kInitialization = 1,  // Parameter values: lane = parameter number, index = element / 4.
  kDataOrder = 2,       // The epoch's permutation: lane = epoch, index = draw.
  kDataSplit = 3,       // Which samples are validation.
  kDropout = 4,
  kAugmentation = 5,  // Of images: lane = the job's lane, index = samples it has used before.
  kSampling = 6,      // Tokens: lane = prompt, index = position.
  kAction = 7,        // Of policies: lane = environment, index = step.
  kEnvironment = 8,   // The seed of the first environment.
  kMinibatch = 9,     // Which samples a minibatch takes: lane = the job's lane, index = draw.
};

using PhiloxBlock = std::array<std::uint32_t, 4>;

// The raw bijection: 128 counter bits under a 64-bit key.
MUSTER_HOST_DEVICE inline PhiloxBlock Philox4x32(PhiloxBlock counter,
                                                 std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t kMultiplierA = 0xD2511F53U;
  constexpr std::uint64_t kMultiplierB = 0xCD9E8D57U;
  constexpr std::uint32_t kWeylA = 0x9E3779B9U;
  constexpr std::uint32_t kWeylB = 0xBB67AE85U;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = kMultiplierA * counter[0];
    const std::uint64_t b = kMultiplierB * counter[2];
    counter = {
        static_cast<std::uint32_t>(b >> 32U) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32U) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += kWeylA;
    key[1] += kWeylB;
  }
  return counter;
}

// Key = seed; counter = (index 64 bit, lane 32, purpose 32).
MUSTER_HOST_DEVICE inline PhiloxBlock RandomBlock(std::uint64_t seed, RandomPurpose purpose,
                                                  std::uint32_t lane, std::uint64_t index) {
  return Philox4x32({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32U),
                     lane, static_cast<std::uint32_t>(purpose)},
                    {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)});
}

// [0, 1) from the upper 24 bits: every value is exact in float.
MUSTER_HOST_DEVICE inline float UnitFloat(std::uint32_t bits) {
  return static_cast<float>(bits >> 8U) * (1.0F / 16777216.0F);
}

// [0, bound) from 64 random bits by multiplication; bias below bound / 2^64. bound > 0.
inline std::uint64_t Below(std::uint32_t high, std::uint32_t low, std::uint64_t bound) {
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t bits = (static_cast<std::uint64_t>(high) << 32U) | low;
  return static_cast<std::uint64_t>((static_cast<Wide>(bits) * bound) >> 64U);
}

}  // namespace muster
