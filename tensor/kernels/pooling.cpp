#include "tensor/kernels/pooling.h"

#include <immintrin.h>

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "tensor/bfloat16.h"
#include "tensor/kernels/lanes.h"

namespace muster::kernels {

namespace {

// Places in a window, as wide as the values beside them.
using LanePlaces = std::int32_t __attribute__((vector_size(32)));

LanePlaces AllPlaces(std::int32_t p) { return LanePlaces{p, p, p, p, p, p, p, p}; }

LanePlaces LoadPlaces(const std::uint8_t* from, std::size_t count) {
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, from, count);
  return std::bit_cast<LanePlaces>(
      _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<std::int64_t>(bytes))));
}

void StorePlaces(std::uint8_t* to, LanePlaces places, std::size_t count) {
  const auto wide = std::bit_cast<__m256i>(places);
  const __m128i half =
      _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
  const std::int64_t bytes = _mm_cvtsi128_si64(_mm_packus_epi16(half, half));
  std::memcpy(to, &bytes, count);
}

// The elements of a window that lie in the image.
struct Elements {
  std::size_t count = 0;
  std::array<std::int32_t, 256> places{};
  std::array<std::size_t, 256> offsets{};

  void Find(const PoolShape& s, std::size_t row, std::size_t column) {
    count = 0;
    ForElements(s, row, column, [&](std::size_t place, std::size_t offset) {
      places[count] = static_cast<std::int32_t>(place);
      offsets[count++] = offset;
    });
  }
};

template <bool kAdd, class T, class D>
void MaxBackward(const PoolShape& s, const std::uint8_t* places, const T* dy, D* dx) {
  Elements elements;
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    elements.Find(s, row, column);
    const std::size_t count = elements.count;
    ForLanes(s.channels, [&](std::size_t c, std::size_t n) {
      const Lanes slope = LoadUpTo(dy + at + c, n);
      const LanePlaces winners = LoadPlaces(places + at + c, n);
      for (std::size_t i = 0; i < count; ++i) {
        D* const to = dx + elements.offsets[i] + c;
        Lanes part = winners == AllPlaces(elements.places[i]) ? slope : Lanes{};
        if (kAdd) part += LoadUpTo(to, n);
        StoreUpTo(to, part, n);
      }
    });
  });
}

}  // namespace

template <class T>
void MaxPoolForward(const PoolShape& s, const T* x, T* y, std::uint8_t* places) {
  Elements elements;
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    elements.Find(s, row, column);
    const std::size_t count = elements.count;
    ForLanes(s.channels, [&](std::size_t c, std::size_t n) {
      Lanes best = LoadUpTo(x + elements.offsets[0] + c, n);
      LanePlaces winner = AllPlaces(elements.places[0]);
      for (std::size_t i = 1; i < count; ++i) {
        const Lanes now = LoadUpTo(x + elements.offsets[i] + c, n);
        // NaN wins over everything, the first stays.
        const LanePlaces larger = ~(now <= best) & (best == best);
        best = larger ? now : best;
        winner = larger ? AllPlaces(elements.places[i]) : winner;
      }
      StoreUpTo(y + at + c, best, n);
      StorePlaces(places + at + c, winner, n);
    });
  });
}

template <class T, class D>
void MaxPoolBackward(const PoolShape& s, const std::uint8_t* places, const T* dy, bool add, D* dx) {
  if (!add) {
    MUSTER_CHECK(s.disjoint(), "overlapping windows overwrite each other");
    MaxBackward<false>(s, places, dy, dx);
    return;
  }
  if constexpr (std::is_same_v<D, float>) {
    MaxBackward<true>(s, places, dy, dx);
  } else {
    MUSTER_CHECK(false, "sums are made in f32");
  }
}

template void MaxPoolForward(const PoolShape&, const float*, float*, std::uint8_t*);
template void MaxPoolForward(const PoolShape&, const BFloat16*, BFloat16*, std::uint8_t*);
template void MaxPoolBackward(const PoolShape&, const std::uint8_t*, const float*, bool, float*);
template void MaxPoolBackward(const PoolShape&, const std::uint8_t*, const BFloat16*, bool, float*);
template void MaxPoolBackward(const PoolShape&, const std::uint8_t*, const BFloat16*, bool,
                              BFloat16*);

}  // namespace muster::kernels
