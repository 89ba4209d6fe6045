#include "envs/numpy_random.h"

#include <array>
#include <cmath>

#include "base/check.h"
#include "envs/ziggurat.h"

namespace muster::envs {
namespace {

constexpr unsigned kShift = 16;

// numpy.random.SeedSequence: a pool of four words, mixed so that every bit of the seed reaches
// every bit of what is drawn from it (after O'Neill's seed_seq_fe).
class SeedSequence {
 public:
  explicit SeedSequence(std::uint64_t seed) {
    const std::array<std::uint32_t, 4> entropy = {static_cast<std::uint32_t>(seed),
                                                  static_cast<std::uint32_t>(seed >> 32U), 0, 0};
    for (std::size_t i = 0; i < 4; ++i) pool_[i] = Hash(entropy[i]);
    for (std::size_t from = 0; from < 4; ++from) {
      for (std::size_t to = 0; to < 4; ++to) {
        if (from != to) pool_[to] = Mix(pool_[to], Hash(pool_[from]));
      }
    }
  }

  std::array<std::uint64_t, 4> Generate() const {
    std::array<std::uint64_t, 4> words{};
    std::uint32_t constant = 0x8b51f9ddU;
    for (std::size_t i = 0; i < 8; ++i) {
      std::uint32_t word = pool_[i % 4] ^ constant;
      constant *= 0x58f38dedU;
      word *= constant;
      word ^= word >> kShift;
      words[i / 2] |= static_cast<std::uint64_t>(word) << (32 * (i % 2));
    }
    return words;
  }

 private:
  std::uint32_t Hash(std::uint32_t value) {
    value ^= constant_;
    constant_ *= 0x931e8875U;
    value *= constant_;
    return value ^ (value >> kShift);
  }
  static std::uint32_t Mix(std::uint32_t a, std::uint32_t b) {
    const std::uint32_t mixed = 0xca01f9ddU * a - 0x4973f715U * b;
    return mixed ^ (mixed >> kShift);
  }

  std::uint32_t constant_ = 0x43b0d7e5U;
  std::array<std::uint32_t, 4> pool_{};
};

}  // namespace

NumpyRandom::NumpyRandom(std::uint64_t seed) {
  const auto words = SeedSequence(seed).Generate();
  const Uint128 start = (static_cast<Uint128>(words[0]) << 64U) | words[1];
  const Uint128 stream = (static_cast<Uint128>(words[2]) << 64U) | words[3];
  increment_ = (stream << 1U) | 1U;
  state_ = increment_ + start;
  state_ = state_ * kMultiplier + increment_;
}

std::int64_t NumpyRandom::Integers(std::int64_t low, std::int64_t high) {
  MUSTER_CHECK(low < high && high - low <= INT64_C(0xFFFFFFFF),
               "integers of an empty or wide range");
  const auto range = static_cast<std::uint32_t>(high - low);
  if (range == 1) return low;  // NumPy draws nothing here.
  std::uint64_t product = static_cast<std::uint64_t>(Next32()) * range;
  if (static_cast<std::uint32_t>(product) < range) {
    const std::uint32_t threshold = (0U - range) % range;
    while (static_cast<std::uint32_t>(product) < threshold) {
      product = static_cast<std::uint64_t>(Next32()) * range;
    }
  }
  return low + static_cast<std::int64_t>(product >> 32U);
}

double NumpyRandom::StandardNormal() {
  const Ziggurat& layers = Ziggurat::Get();
  for (;;) {
    const std::uint64_t bits = Next64();
    const std::size_t layer = bits & 0xFFU;
    const bool negative = ((bits >> 8U) & 1U) != 0;
    const std::uint64_t fraction = (bits >> 9U) & 0x000FFFFFFFFFFFFFU;
    double x = static_cast<double>(fraction) * layers.width[layer];
    if (negative) x = -x;
    if (fraction < layers.inside[layer]) return x;
    if (layer == 0) {
      for (;;) {
        const double tail = -Ziggurat::kInverseEdge * std::log1p(-Random());
        const double height = -std::log1p(-Random());
        if (height + height > tail * tail) {
          const double edge = Ziggurat::kEdge + tail;
          return ((fraction >> 8U) & 1U) != 0 ? -edge : edge;
        }
      }
    }
    const double slope = layers.density[layer - 1] - layers.density[layer];
    if (slope * Random() + layers.density[layer] < std::exp(-0.5 * x * x)) return x;
  }
}

void NumpyRandom::Save(ByteWriter& to) const {
  for (const Uint128 word : {state_, increment_}) {
    to.Put(static_cast<std::uint64_t>(word >> 64U));
    to.Put(static_cast<std::uint64_t>(word));
  }
  to.Put<std::uint32_t>(has_half_ ? 1 : 0);
  to.Put(half_);
}

void NumpyRandom::Load(ByteReader& from) {
  for (Uint128* const word : {&state_, &increment_}) {
    const auto high = from.Get<std::uint64_t>();
    *word = (static_cast<Uint128>(high) << 64U) | from.Get<std::uint64_t>();
  }
  has_half_ = from.Get<std::uint32_t>() != 0;
  from.Get(half_);
}

}  // namespace muster::envs
