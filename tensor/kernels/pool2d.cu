#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

using kernels::PoolShape;

// Calls take(place, index of the element of x) for those of output element i's window that lie in
// the image, row by row.
template <class Take>
__device__ void ForElementsOf(const PoolShape& s, std::size_t i, const Take& take) {
  const std::size_t channel = i % s.channels, column = i / s.channels % s.out_width;
  const std::size_t row = i / s.channels / s.out_width % s.out_height, sample = i / s.output();
  for (std::size_t place = 0; place < s.kernel * s.kernel; ++place) {
    const std::size_t y = row * s.stride + place / s.kernel;  // Of the padded image.
    const std::size_t x = column * s.stride + place % s.kernel;
    if (y < s.padding || y - s.padding >= s.height) continue;
    if (x < s.padding || x - s.padding >= s.width) continue;
    const std::size_t pixel = (sample * s.height + y - s.padding) * s.width + x - s.padding;
    take(place, pixel * s.channels + channel);
  }
}

// Calls add(index of the output's element, place in its window) for all windows that input element
// i lies in, rows and columns ascending: the order in which the CPU adds them.
template <class Add>
__device__ void ForWindowsOf(const PoolShape& s, std::size_t i, const Add& add) {
  const std::size_t channel = i % s.channels, x = i / s.channels % s.width + s.padding;
  const std::size_t y = i / s.channels / s.width % s.height + s.padding, sample = i / s.image();
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

template <class T>
void MaxForwardOf(Stream& stream, const MaxPoolForwardArgs& args) {
  const PoolShape s = args.shape;
  const T* const x = As<T>(args.x);
  T* const y = As<T>(args.y);
  std::uint8_t* const places = args.places;
  ForEach(stream, s.samples * s.output(), [=] __device__(std::size_t i) {
    bool any = false;
    float largest = 0;
    std::size_t winner = 0;
    ForElementsOf(s, i, [&](std::size_t place, std::size_t at) {
      const float value = ToFloat(x[at]);
      if (any && (value <= largest || largest != largest)) return;  // The first NaN stays.
      any = true;
      largest = value;
      winner = place;
    });
    y[i] = T(largest);
    places[i] = static_cast<std::uint8_t>(winner);
  });
}

template <class T>
void MaxBackwardOf(Stream& stream, const MaxPoolBackwardArgs& args) {
  const MaxPoolBackwardArgs a = args;
  const T* const dy = As<T>(args.dy);
  T* const dx = As<T>(args.dx);
  ForEach(stream, args.shape.samples * args.shape.image(), [=] __device__(std::size_t i) {
    float sum = a.accumulate ? ToFloat(dx[i]) : 0.0F;
    ForWindowsOf(a.shape, i, [&](std::size_t at, std::size_t place) {
      sum += a.places[at] == place ? ToFloat(dy[at]) : 0.0F;
    });
    dx[i] = T(sum);
  });
}

template <class T>
void AvgForwardOf(Stream& stream, const AvgPoolForwardArgs& args) {
  const PoolShape s = args.shape;
  const T* const x = As<T>(args.x);
  T* const y = As<T>(args.y);
  const float share = 1.0F / static_cast<float>(s.kernel * s.kernel);
  ForEach(stream, s.samples * s.output(), [=] __device__(std::size_t i) {
    float sum = 0;
    ForElementsOf(s, i, [&](std::size_t, std::size_t at) { sum += ToFloat(x[at]); });
    y[i] = T(sum * share);
  });
}

template <class T>
void AvgBackwardOf(Stream& stream, const AvgPoolBackwardArgs& args) {
  const AvgPoolBackwardArgs a = args;
  const T* const dy = As<T>(args.dy);
  T* const dx = As<T>(args.dx);
  const float share = 1.0F / static_cast<float>(a.shape.kernel * a.shape.kernel);
  ForEach(stream, args.shape.samples * args.shape.image(), [=] __device__(std::size_t i) {
    float sum = a.accumulate ? ToFloat(dx[i]) : 0.0F;
    ForWindowsOf(a.shape, i, [&](std::size_t at, std::size_t) { sum += share * ToFloat(dy[at]); });
    dx[i] = T(sum);
  });
}

}  // namespace

void MaxPoolForward(Stream& stream, const MaxPoolForwardArgs& args) {
  MUSTER_BY_TYPE(args.type, MaxForwardOf, stream, args);
}

void MaxPoolBackward(Stream& stream, const MaxPoolBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, MaxBackwardOf, stream, args);
}

void AvgPoolForward(Stream& stream, const AvgPoolForwardArgs& args) {
  MUSTER_BY_TYPE(args.type, AvgForwardOf, stream, args);
}

void AvgPoolBackward(Stream& stream, const AvgPoolBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, AvgBackwardOf, stream, args);
}

}  // namespace muster::cuda
