#include "base/philox.h"

namespace muster {

PhiloxBlock Philox4x32(PhiloxBlock counter, std::array<std::uint32_t, 2> key) {
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

PhiloxBlock RandomBlock(std::uint64_t seed, RandomPurpose purpose, std::uint32_t lane,
                        std::uint64_t index) {
  return Philox4x32({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32U),
                     lane, static_cast<std::uint32_t>(purpose)},
                    {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)});
}

}  // namespace muster
