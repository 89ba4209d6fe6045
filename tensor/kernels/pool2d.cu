#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

using kernels::PoolShape;

// An element of the output: its window, and where that begins in x.
struct Window {
  std::size_t begin;

  __device__ Window(const PoolShape& s, std::size_t i) {
    const std::size_t channel = i % s.channels, column = i / s.channels % s.out_width;
    const std::size_t row = i / s.channels / s.out_width % s.out_height;
    begin = i / s.output() * s.image() + s.At(row, column, 0, 0) + channel;
  }
  __device__ std::size_t At(const PoolShape& s, std::size_t place) const {
    return begin + (place / s.kernel * s.width + place % s.kernel) * s.channels;
  }
};

// Calls add(index of the output's element, place in its window) for all windows that an element of
// the input lies in, rows and columns ascending: the order in which the CPU adds them.
template <class Add>
__device__ void ForWindowsOf(const PoolShape& s, std::size_t i, const Add& add) {
  const std::size_t channel = i % s.channels, x = i / s.channels % s.width;
  const std::size_t y = i / s.channels / s.width % s.height, sample = i / s.image();
  // The windows r with r * stride <= y < r * stride + kernel.
  const std::size_t first_row = y < s.kernel ? 0 : (y - s.kernel) / s.stride + 1;
  const std::size_t first_column = x < s.kernel ? 0 : (x - s.kernel) / s.stride + 1;
  for (std::size_t row = first_row; row < s.out_height && row * s.stride <= y; ++row) {
    for (std::size_t column = first_column; column < s.out_width && column * s.stride <= x;
         ++column) {
      add(((sample * s.out_height + row) * s.out_width + column) * s.channels + channel,
          (y - row * s.stride) * s.kernel + (x - column * s.stride));
    }
  }
}

}  // namespace

void MaxPoolForward(Stream& stream, const MaxPoolForwardArgs& args) {
  const MaxPoolForwardArgs a = args;
  const PoolShape s = args.shape;
  ForEach(stream, s.samples * s.output(), [=] __device__(std::size_t i) {
    const Window window(s, i);
    float largest = a.x[window.At(s, 0)];
    std::uint8_t winner = 0;
    for (std::size_t place = 1; place < s.kernel * s.kernel; ++place) {
      const float value = a.x[window.At(s, place)];
      if (!(value <= largest) && largest == largest) {  // The first NaN stays.
        largest = value;
        winner = static_cast<std::uint8_t>(place);
      }
    }
    a.y[i] = largest;
    a.places[i] = winner;
  });
}

void MaxPoolBackward(Stream& stream, const MaxPoolBackwardArgs& args) {
  const MaxPoolBackwardArgs a = args;
  const PoolShape s = args.shape;
  ForEach(stream, s.samples * s.image(), [=] __device__(std::size_t i) {
    float sum = a.accumulate ? a.dx[i] : 0.0F;
    ForWindowsOf(s, i, [&](std::size_t at, std::size_t place) {
      sum += a.places[at] == place ? a.dy[at] : 0.0F;
    });
    a.dx[i] = sum;
  });
}

void AvgPoolForward(Stream& stream, const AvgPoolForwardArgs& args) {
  const AvgPoolForwardArgs a = args;
  const PoolShape s = args.shape;
  const float share = 1.0F / static_cast<float>(s.kernel * s.kernel);
  ForEach(stream, s.samples * s.output(), [=] __device__(std::size_t i) {
    const Window window(s, i);
    float sum = 0;
    for (std::size_t place = 0; place < s.kernel * s.kernel; ++place) {
      sum += a.x[window.At(s, place)];
    }
    a.y[i] = sum * share;
  });
}

void AvgPoolBackward(Stream& stream, const AvgPoolBackwardArgs& args) {
  const AvgPoolBackwardArgs a = args;
  const PoolShape s = args.shape;
  const float share = 1.0F / static_cast<float>(s.kernel * s.kernel);
  ForEach(stream, s.samples * s.image(), [=] __device__(std::size_t i) {
    float sum = a.accumulate ? a.dx[i] : 0.0F;
    ForWindowsOf(s, i, [&](std::size_t at, std::size_t) { sum += share * a.dy[at]; });
    a.dx[i] = sum;
  });
}

}  // namespace muster::cuda
