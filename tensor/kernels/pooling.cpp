#include "tensor/kernels/pooling.h"

#include <algorithm>

namespace muster::kernels {

namespace {

// The largest so far and its place in the window; NaN wins over everything, the first stays.
// A byte may alias anything, so without the promises of __restrict none of this would vectorise.
void TakeLarger(const float* __restrict x, std::uint8_t place, std::size_t channels,
                float* __restrict y, std::uint8_t* __restrict places) {
  for (std::size_t c = 0; c < channels; ++c) {
    const bool larger = !(x[c] <= y[c]) && y[c] == y[c];
    y[c] = larger ? x[c] : y[c];
    places[c] = larger ? place : places[c];
  }
}

// to[c] = from[c] where `place` won, otherwise 0; or adds that.
template <bool kAdd>
void GiveToWinner(const float* __restrict from, const std::uint8_t* __restrict winners,
                  std::uint8_t place, std::size_t channels, float* __restrict to) {
  for (std::size_t c = 0; c < channels; ++c) {
    const float part = winners[c] == place ? from[c] : 0.0F;
    to[c] = kAdd ? to[c] + part : part;
  }
}

template <bool kAdd>
void MaxBackward(const PoolShape& s, const std::uint8_t* places, const float* dy, float* dx) {
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    for (std::size_t place = 0; place < s.kernel * s.kernel; ++place) {
      GiveToWinner<kAdd>(dy + at, places + at, static_cast<std::uint8_t>(place), s.channels,
                         dx + s.At(row, column, place / s.kernel, place % s.kernel));
    }
  });
}

}  // namespace

void MaxPoolForward(const PoolShape& s, const float* x, float* y, std::uint8_t* places) {
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    std::copy_n(x + s.At(row, column, 0, 0), s.channels, y + at);
    std::fill_n(places + at, s.channels, std::uint8_t{0});
    for (std::size_t place = 1; place < s.kernel * s.kernel; ++place) {
      TakeLarger(x + s.At(row, column, place / s.kernel, place % s.kernel),
                 static_cast<std::uint8_t>(place), s.channels, y + at, places + at);
    }
  });
}

void MaxPoolBackward(const PoolShape& s, const std::uint8_t* places, const float* dy, bool add,
                     float* dx) {
  (add ? MaxBackward<true> : MaxBackward<false>)(s, places, dy, dx);
}

}  // namespace muster::kernels
