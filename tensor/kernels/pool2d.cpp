#include "tensor/kernels/pool2d.h"

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "tensor/kernels/pooling.h"

namespace muster::ops {

namespace {

using kernels::PoolShape;

PoolShape ShapeOf(const Tensor& x, const Pool2dOptions& options) {
  const Shape& image = x.shape();
  MUSTER_CHECK(image.rank() == 4 && options.kernel > 0 && options.stride > 0 &&
                   image[1] >= options.kernel && image[2] >= options.kernel,
               "pool of " + std::to_string(options.kernel) + " over " + image.ToString());
  MUSTER_CHECK(options.kernel <= 16, "a pooling window has at most 16 x 16 elements");
  return {image[0],
          image[1],
          image[2],
          image[3],
          (image[1] - options.kernel) / options.stride + 1,
          (image[2] - options.kernel) / options.stride + 1,
          options.kernel,
          options.stride};
}

// Windows that overlap or leave gaps add to zeros instead.
void Prepare(const PoolShape& s, const GradientSink<float>& sink, std::size_t sample) {
  if (!s.tiles() && !sink.accumulate) {
    std::fill_n(sink.data + sample * s.image(), s.image(), 0.0F);
  }
}

struct MaxPoolNode {
  Tensor x;
  PoolShape shape;
  const std::uint8_t* places;

  void Backward(Tape& tape, const float* dy) const {
    const GradientSink sink = tape.SinkFor(x);
    ParallelFor(tape.pool(), shape.samples, [&](std::size_t sample) {
      Prepare(shape, sink, sample);
      kernels::MaxPoolBackward(shape, places + sample * shape.output(),
                               dy + sample * shape.output(), !shape.tiles() || sink.accumulate,
                               sink.data + sample * shape.image());
    });
  }
};

void AvgForward(const PoolShape& s, const float* x, float* y) {
  const float share = 1.0F / static_cast<float>(s.kernel * s.kernel);
  kernels::ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    std::fill_n(y + at, s.channels, 0.0F);
    for (std::size_t place = 0; place < s.kernel * s.kernel; ++place) {
      const float* const from = x + s.At(row, column, place / s.kernel, place % s.kernel);
      for (std::size_t c = 0; c < s.channels; ++c) y[at + c] += from[c];
    }
    for (std::size_t c = 0; c < s.channels; ++c) y[at + c] *= share;
  });
}

void AvgBackward(const PoolShape& s, const float* dy, bool write, float* dx) {
  const float share = 1.0F / static_cast<float>(s.kernel * s.kernel);
  kernels::ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    for (std::size_t place = 0; place < s.kernel * s.kernel; ++place) {
      float* const to = dx + s.At(row, column, place / s.kernel, place % s.kernel);
      for (std::size_t c = 0; c < s.channels; ++c) {
        to[c] = write ? share * dy[at + c] : to[c] + share * dy[at + c];
      }
    }
  });
}

struct AvgPoolNode {
  Tensor x;
  PoolShape shape;

  void Backward(Tape& tape, const float* dy) const {
    const GradientSink sink = tape.SinkFor(x);
    ParallelFor(tape.pool(), shape.samples, [&](std::size_t sample) {
      Prepare(shape, sink, sample);
      AvgBackward(shape, dy + sample * shape.output(), shape.tiles() && !sink.accumulate,
                  sink.data + sample * shape.image());
    });
  }
};

}  // namespace

Tensor MaxPool2d(Tape& tape, Tensor x, const Pool2dOptions& options) {
  const PoolShape shape = ShapeOf(x, options);
  Tensor y = tape.NewOutput({shape.samples, shape.out_height, shape.out_width, shape.channels});
  auto* const places = static_cast<std::uint8_t*>(tape.arena().Allocate(y.elements()));
  ParallelFor(tape.pool(), shape.samples, [&](std::size_t sample) {
    kernels::MaxPoolForward(shape, x.data() + sample * shape.image(),
                            y.data() + sample * shape.output(), places + sample * shape.output());
  });
  if (tape.Records({x})) tape.Record(y, {x}, MaxPoolNode{x, shape, places});
  return y;
}

Tensor AvgPool2d(Tape& tape, Tensor x, const Pool2dOptions& options) {
  const PoolShape shape = ShapeOf(x, options);
  Tensor y = tape.NewOutput({shape.samples, shape.out_height, shape.out_width, shape.channels});
  ParallelFor(tape.pool(), shape.samples, [&](std::size_t sample) {
    AvgForward(shape, x.data() + sample * shape.image(), y.data() + sample * shape.output());
  });
  if (tape.Records({x})) tape.Record(y, {x}, AvgPoolNode{x, shape});
  return y;
}

}  // namespace muster::ops
