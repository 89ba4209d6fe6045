#include "tensor/kernels/pooling.h"

#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "tensor/bfloat16.h"
#include "tensor/kernels/lanes.h"

namespace muster::kernels {

namespace {

// Places in a window, as wide as the values beside them.
using LanePlaces = std::int32_t __attribute__((vector_size(32)));
using LaneBytes = std::uint8_t __attribute__((vector_size(8)));

LanePlaces AllPlaces(std::size_t place) {
  const auto p = static_cast<std::int32_t>(place);
  return LanePlaces{p, p, p, p, p, p, p, p};
}

LanePlaces LoadPlaces(const std::uint8_t* from, std::size_t count) {
  LaneBytes bytes{};
  std::memcpy(&bytes, from, count);
  return __builtin_convertvector(bytes, LanePlaces);
}

void StorePlaces(std::uint8_t* to, LanePlaces places, std::size_t count) {
  const LaneBytes bytes = __builtin_convertvector(places, LaneBytes);
  std::memcpy(to, &bytes, count);
}

template <bool kAdd, class T, class D>
void MaxBackward(const PoolShape& s, const std::uint8_t* places, const T* dy, D* dx) {
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    ForLanes(s.channels, [&](std::size_t c, std::size_t n) {
      const Lanes slope = LoadUpTo(dy + at + c, n);
      const LanePlaces winners = LoadPlaces(places + at + c, n);
      ForElements(s, row, column, [&](std::size_t place, std::size_t element) {
        Lanes part = winners == AllPlaces(place) ? slope : Lanes{};
        if (kAdd) part += LoadUpTo(dx + element + c, n);
        StoreUpTo(dx + element + c, part, n);
      });
    });
  });
}

}  // namespace

template <class T>
void MaxPoolForward(const PoolShape& s, const T* x, T* y, std::uint8_t* places) {
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    ForLanes(s.channels, [&](std::size_t c, std::size_t n) {
      Lanes best{};
      LanePlaces winner{};
      bool first = true;
      ForElements(s, row, column, [&](std::size_t place, std::size_t element) {
        const Lanes now = LoadUpTo(x + element + c, n);
        // NaN wins over everything, the first stays.
        const LanePlaces larger =
            first ? AllPlaces(0) == AllPlaces(0) : ~(now <= best) & (best == best);
        best = larger ? now : best;
        winner = larger ? AllPlaces(place) : winner;
        first = false;
      });
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
