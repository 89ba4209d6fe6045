#include "tensor/kernels/pooling.h"

#include <type_traits>

#include "base/check.h"
#include "tensor/bfloat16.h"

namespace muster::kernels {

namespace {

// The largest so far and its place in the window; NaN wins over everything, the first stays.
// A byte may alias anything, so without the promises of __restrict none of this would vectorise.
template <class T>
void TakeLarger(const T* __restrict x, std::uint8_t place, std::size_t channels, T* __restrict y,
                std::uint8_t* __restrict places) {
  for (std::size_t c = 0; c < channels; ++c) {
    const float now = ToFloat(x[c]), best = ToFloat(y[c]);
    const bool larger = !(now <= best) && best == best;
    y[c] = larger ? x[c] : y[c];
    places[c] = larger ? place : places[c];
  }
}

// to[c] = from[c] where `place` won, otherwise 0; or adds that.
template <bool kAdd, class T, class D>
void GiveToWinner(const T* __restrict from, const std::uint8_t* __restrict winners,
                  std::uint8_t place, std::size_t channels, D* __restrict to) {
  for (std::size_t c = 0; c < channels; ++c) {
    if constexpr (kAdd) {
      to[c] += winners[c] == place ? ToFloat(from[c]) : 0.0F;
    } else {
      to[c] = winners[c] == place ? D(from[c]) : D(0.0F);
    }
  }
}

template <bool kAdd, class T, class D>
void MaxBackward(const PoolShape& s, const std::uint8_t* places, const T* dy, D* dx) {
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    ForElements(s, row, column, [&](std::size_t place, std::size_t element) {
      GiveToWinner<kAdd>(dy + at, places + at, static_cast<std::uint8_t>(place), s.channels,
                         dx + element);
    });
  });
}

}  // namespace

template <class T>
void MaxPoolForward(const PoolShape& s, const T* x, T* y, std::uint8_t* places) {
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    bool first = true;
    ForElements(s, row, column, [&](std::size_t place, std::size_t element) {
      if (first) {
        std::copy_n(x + element, s.channels, y + at);
        std::fill_n(places + at, s.channels, static_cast<std::uint8_t>(place));
        first = false;
      } else {
        TakeLarger(x + element, static_cast<std::uint8_t>(place), s.channels, y + at, places + at);
      }
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
