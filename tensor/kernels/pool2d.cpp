#include "tensor/kernels/pool2d.h"

#include <algorithm>
#include <cstdint>

#include "base/check.h"

namespace muster::ops {

namespace {

struct PoolShape {
  std::size_t samples, height, width, channels, out_height, out_width, kernel, stride;

  std::size_t image() const { return height * width * channels; }
  std::size_t output() const { return out_height * out_width * channels; }
  // Where window (row, column)'s element (i, j) starts in its image.
  std::size_t At(std::size_t row, std::size_t column, std::size_t i, std::size_t j) const {
    return ((row * stride + i) * width + column * stride + j) * channels;
  }
  // Every input element lies in exactly one window, so that the backward pass may write, not add.
  bool tiles() const {
    return kernel == stride && out_height * kernel == height && out_width * kernel == width;
  }
};

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

// body(row, column, offset of the window's output in the sample) for all windows of one sample.
template <class Body>
void ForWindows(const PoolShape& s, const Body& body) {
  for (std::size_t row = 0; row < s.out_height; ++row) {
    for (std::size_t column = 0; column < s.out_width; ++column) {
      body(row, column, (row * s.out_width + column) * s.channels);
    }
  }
}

// The largest so far and its place in the window; NaN wins over everything, the first stays.
void TakeLarger(const float* x, std::uint8_t place, std::size_t channels, float* y,
                std::uint8_t* places) {
  for (std::size_t c = 0; c < channels; ++c) {
    const bool larger = !(x[c] <= y[c]) && y[c] == y[c];
    y[c] = larger ? x[c] : y[c];
    places[c] = larger ? place : places[c];
  }
}

void MaxForward(const PoolShape& s, const float* x, float* y, std::uint8_t* places) {
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    std::copy_n(x + s.At(row, column, 0, 0), s.channels, y + at);
    std::fill_n(places + at, s.channels, std::uint8_t{0});
    for (std::size_t place = 1; place < s.kernel * s.kernel; ++place) {
      TakeLarger(x + s.At(row, column, place / s.kernel, place % s.kernel),
                 static_cast<std::uint8_t>(place), s.channels, y + at, places + at);
    }
  });
}

void MaxBackward(const PoolShape& s, const std::uint8_t* places, const float* dy, bool write,
                 float* dx) {
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
    for (std::size_t place = 0; place < s.kernel * s.kernel; ++place) {
      float* const to = dx + s.At(row, column, place / s.kernel, place % s.kernel);
      const float* const from = dy + at;
      const std::uint8_t* const winner = places + at;
      for (std::size_t c = 0; c < s.channels; ++c) {
        const float part = winner[c] == place ? from[c] : 0.0F;
        to[c] = write ? part : to[c] + part;
      }
    }
  });
}

// Windows that overlap or leave gaps add to zeros instead.
void Prepare(const PoolShape& s, const GradientSink& sink, std::size_t sample) {
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
      MaxBackward(shape, places + sample * shape.output(), dy + sample * shape.output(),
                  shape.tiles() && !sink.accumulate, sink.data + sample * shape.image());
    });
  }
};

void AvgForward(const PoolShape& s, const float* x, float* y) {
  const float share = 1.0F / static_cast<float>(s.kernel * s.kernel);
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
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
  ForWindows(s, [&](std::size_t row, std::size_t column, std::size_t at) {
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
    MaxForward(shape, x.data() + sample * shape.image(), y.data() + sample * shape.output(),
               places + sample * shape.output());
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
