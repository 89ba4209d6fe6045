// Pooling of one sample, NHWC: what MaxPool2d and a convolution with a fused pool share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace muster::kernels {

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

// body(row, column, offset of the window's output in the sample) for all windows of one sample.
template <class Body>
void ForWindows(const PoolShape& s, const Body& body) {
  for (std::size_t row = 0; row < s.out_height; ++row) {
    for (std::size_t column = 0; column < s.out_width; ++column) {
      body(row, column, (row * s.out_width + column) * s.channels);
    }
  }
}

// x [height, width, channels] -> y [out_height, out_width, channels] and the place of each window's
// first maximum, counted row by row in the window. NaN is larger than everything.
void MaxPoolForward(const PoolShape& shape, const float* x, float* y, std::uint8_t* places);

// Every dy to its window's winner; adds to dx, or overwrites it, which needs shape.tiles().
void MaxPoolBackward(const PoolShape& shape, const std::uint8_t* places, const float* dy, bool add,
                     float* dx);

}  // namespace muster::kernels
