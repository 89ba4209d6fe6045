// NumPy's default random generator, to the bit (normal numbers to 14 digits): environments that
// have a public reference draw the same numbers from the same seed as `gymnasium` does. Source:
// numpy.random.Generator(PCG64(SeedSequence(seed))), NumPy 1.17 and later; O'Neill, "PCG: a family
// of simple fast space-efficient statistically good algorithms for random number generation",
// HMC-CS-2014-0905 (PCG XSL-RR 128/64); Lemire, "Fast random integer generation in an interval",
// ACM TOMACS 2019; Marsaglia and Tsang, "The ziggurat method", JSS 2000.
#pragma once

#include <cstdint>

#include "envs/bytes.h"

namespace muster::envs {

// Plain data of 48 bytes. One thread at a time.
class NumpyRandom {
 public:
  explicit NumpyRandom(std::uint64_t seed = 0);

  std::uint64_t Next64() {
    state_ = state_ * kMultiplier + increment_;
    const auto high = static_cast<std::uint64_t>(state_ >> 64U);
    const std::uint64_t folded = high ^ static_cast<std::uint64_t>(state_);
    const auto rotation = static_cast<unsigned>(high >> 58U);
    return (folded >> rotation) | (folded << ((64U - rotation) & 63U));
  }
  // The low half of a 64-bit draw, then its high half.
  std::uint32_t Next32() {
    if (has_half_) {
      has_half_ = false;
      return half_;
    }
    const std::uint64_t both = Next64();
    has_half_ = true;
    half_ = static_cast<std::uint32_t>(both >> 32U);
    return static_cast<std::uint32_t>(both);
  }

  // Generator.random(): [0, 1), 53 bits.
  double Random() { return static_cast<double>(Next64() >> 11U) * (1.0 / 9007199254740992.0); }
  // Generator.uniform(low, high).
  double Uniform(double low, double high) { return low + (high - low) * Random(); }
  // Generator.integers(low, high), of dtype int64: [low, high). high - low must be in 1..2^32-1.
  std::int64_t Integers(std::int64_t low, std::int64_t high);
  // The index that Generator.choice(sequence of n) takes.
  std::size_t Choice(std::size_t n) {
    return static_cast<std::size_t>(Integers(0, static_cast<std::int64_t>(n)));
  }
  // Generator.normal(mean, deviation).
  double Normal(double mean, double deviation) { return mean + deviation * StandardNormal(); }
  double StandardNormal();

  void Save(ByteWriter& to) const;
  void Load(ByteReader& from);

 private:
  __extension__ using Uint128 = unsigned __int128;
  static constexpr Uint128 kMultiplier =
      (static_cast<Uint128>(2549297995355413924U) << 64U) | 4865540595714422341U;

  Uint128 state_ = 0;
  Uint128 increment_ = 0;
  std::uint32_t half_ = 0;
  bool has_half_ = false;
};

}  // namespace muster::envs
