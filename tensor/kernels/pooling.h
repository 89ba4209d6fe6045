// Pooling of one sample, NHWC: what MaxPool2d and a convolution with a fused pool share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/host_device.h"

namespace muster::kernels {

struct PoolShape {
  std::size_t samples = 0, height = 0, width = 0, channels = 0;
  std::size_t out_height = 0, out_width = 0;
  std::size_t kernel = 1, stride = 1;
  std::size_t padding = 0;  // On each side; at most half the kernel, so that no window is empty.

  MUSTER_HOST_DEVICE std::size_t image() const { return height * width * channels; }
  MUSTER_HOST_DEVICE std::size_t output() const { return out_height * out_width * channels; }
  // No element lies in two windows.
  bool disjoint() const { return stride >= kernel; }
  // Every element lies in exactly one.
  bool tiles() const {
    return kernel == stride && padding == 0 && out_height * kernel == height &&
           out_width * kernel == width;
  }
};

// body(place, offset of the element in the image) for the elements of window (row, column) that lie
// in the image, row by row; `place` counts those that do not as well.
template <class Body>
void ForElements(const PoolShape& s, std::size_t row, std::size_t column, const Body& body) {
  const std::size_t top = row * s.stride, left = column * s.stride;  // Of the padded image.
  const std::size_t first = left < s.padding ? s.padding - left : 0;
  const std::size_t end = std::min(s.kernel, s.width + s.padding - left);
  for (std::size_t i = top < s.padding ? s.padding - top : 0;
       i < std::min(s.kernel, s.height + s.padding - top); ++i) {
    const std::size_t line = (top + i - s.padding) * s.width;
    for (std::size_t j = first; j < end; ++j) {
      body(i * s.kernel + j, (line + left + j - s.padding) * s.channels);
    }
  }
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

// x [height, width, channels] -> y [out_height, out_width, channels] and the place of each window's
// first maximum, counted row by row in the window. NaN is larger than everything.
template <class T>
void MaxPoolForward(const PoolShape& shape, const T* x, T* y, std::uint8_t* places);

// Every dy to its window's winner, in all windows: adds to dx (f32 only), or overwrites the
// elements that lie in a window, which needs shape.disjoint(). For f32 to f32 and bf16 to either.
template <class T, class D>
void MaxPoolBackward(const PoolShape& shape, const std::uint8_t* places, const T* dy, bool add,
                     D* dx);

}  // namespace muster::kernels
