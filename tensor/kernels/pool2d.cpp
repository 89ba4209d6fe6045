#include "tensor/kernels/pool2d.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/pooling.h"

namespace muster::ops {

namespace {

using kernels::Lanes;
using kernels::PoolShape;

PoolShape ShapeOf(const Tensor& x, const Pool2dOptions& options) {
  const Shape& image = x.shape();
  const std::size_t added = 2 * options.padding;
  MUSTER_CHECK(image.rank() == 4 && options.kernel > 0 && options.stride > 0 &&
                   image[1] + added >= options.kernel && image[2] + added >= options.kernel,
               "pool of " + std::to_string(options.kernel) + " over " + image.ToString());
  MUSTER_CHECK(options.kernel <= 16, "a pooling window has at most 16 x 16 elements");
  MUSTER_CHECK(added <= options.kernel, "a padding of " + std::to_string(options.padding) +
                                            " is more than half of a window of " +
                                            std::to_string(options.kernel));
  return {.samples = image[0],
          .height = image[1],
          .width = image[2],
          .channels = image[3],
          .out_height = (image[1] + added - options.kernel) / options.stride + 1,
          .out_width = (image[2] + added - options.kernel) / options.stride + 1,
          .kernel = options.kernel,
          .stride = options.stride,
          .padding = options.padding};
}

// Puts the gradient of every image where the sink wants it. pass(sample, add, dx) overwrites dx,
// where windows tile the image, or adds to it, which is done in f32.
template <class T, class Pass>
void PutGradient(Tape& tape, const PoolShape& s, Tensor x, const Pass& pass) {
  const GradientSink sink = tape.SinkFor<T>(x);
  ParallelFor(tape.pool(), s.samples, [&](std::size_t sample) {
    T* const to = sink.data + sample * s.image();
    if (s.tiles() && !sink.accumulate) {
      pass(sample, false, to);
    } else if constexpr (std::is_same_v<T, float>) {
      if (!sink.accumulate) std::fill_n(to, s.image(), 0.0F);
      pass(sample, true, to);
    } else {
      thread_local std::vector<float> sums;
      sums.assign(s.image(), 0.0F);
      pass(sample, true, sums.data());
      kernels::ForLanes(s.image(), [&](std::size_t i, std::size_t n) {
        Lanes sum = kernels::LoadUpTo(sums.data() + i, n);
        if (sink.accumulate) sum += kernels::LoadUpTo(to + i, n);
        kernels::StoreUpTo(to + i, sum, n);
      });
    }
  });
}

template <class T>
struct MaxPoolNode {
  Tensor x;
  PoolShape shape;
  const std::uint8_t* places;

  void Backward(Tape& tape, const T* dy) const {
    PutGradient<T>(tape, shape, x, [&](std::size_t sample, bool add, auto* dx) {
      const std::size_t at = sample * shape.output();
      kernels::MaxPoolBackward(shape, places + at, dy + at, add, dx);
    });
  }
};

template <class T>
void AvgForward(const PoolShape& s, const T* x, T* y) {
  const float share = 1.0F / static_cast<float>(s.kernel * s.kernel);
  kernels::ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    kernels::ForLanes(s.channels, [&](std::size_t c, std::size_t n) {
      Lanes sum{};
      kernels::ForElements(s, row, column, [&](std::size_t, std::size_t element) {
        sum += kernels::LoadUpTo(x + element + c, n);
      });
      kernels::StoreUpTo(y + at + c, sum * share, n);
    });
  });
}

template <class T, class D>
void AvgBackward(const PoolShape& s, const T* dy, bool add, D* dx) {
  const float share = 1.0F / static_cast<float>(s.kernel * s.kernel);
  kernels::ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    kernels::ForElements(s, row, column, [&](std::size_t, std::size_t element) {
      kernels::ForLanes(s.channels, [&](std::size_t c, std::size_t n) {
        Lanes part = kernels::LoadUpTo(dy + at + c, n) * share;
        if (add) part += kernels::LoadUpTo(dx + element + c, n);
        kernels::StoreUpTo(dx + element + c, part, n);
      });
    });
  });
}

template <class T>
struct AvgPoolNode {
  Tensor x;
  PoolShape shape;

  void Backward(Tape& tape, const T* dy) const {
    PutGradient<T>(tape, shape, x, [&](std::size_t sample, bool add, auto* dx) {
      AvgBackward(shape, dy + sample * shape.output(), add, dx);
    });
  }
};

template <class T>
Tensor MaxPoolOf(Tape& tape, Tensor x, const PoolShape& shape, Tensor y) {
  auto* const places = tape.Scratch<std::uint8_t>(y.shape());
  ParallelFor(tape.pool(), shape.samples, [&](std::size_t sample) {
    const std::size_t at = sample * shape.output();
    kernels::MaxPoolForward(shape, x.as<T>() + sample * shape.image(), y.as<T>() + at, places + at);
  });
  if (tape.Records({x})) tape.Record(y, {x}, MaxPoolNode<T>{x, shape, places});
  return y;
}

template <class T>
Tensor AvgPoolOf(Tape& tape, Tensor x, const PoolShape& shape, Tensor y) {
  ParallelFor(tape.pool(), shape.samples, [&](std::size_t sample) {
    AvgForward(shape, x.as<T>() + sample * shape.image(), y.as<T>() + sample * shape.output());
  });
  if (tape.Records({x})) tape.Record(y, {x}, AvgPoolNode<T>{x, shape});
  return y;
}

Tensor NewOutput(Tape& tape, const PoolShape& shape, DType type) {
  return tape.NewOutput({shape.samples, shape.out_height, shape.out_width, shape.channels}, type);
}

}  // namespace

Tensor MaxPool2d(Tape& tape, Tensor x, const Pool2dOptions& options) {
  const PoolShape shape = ShapeOf(x, options);
  return Dispatch(x.type(), [&](auto element) {
    return MaxPoolOf<decltype(element)>(tape, x, shape, NewOutput(tape, shape, x.type()));
  });
}

Tensor AvgPool2d(Tape& tape, Tensor x, const Pool2dOptions& options) {
  const PoolShape shape = ShapeOf(x, options);
  return Dispatch(x.type(), [&](auto element) {
    return AvgPoolOf<decltype(element)>(tape, x, shape, NewOutput(tape, shape, x.type()));
  });
}

}  // namespace muster::ops
