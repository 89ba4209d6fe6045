// Max and average pooling over square windows, NHWC.
#pragma once

#include <cstddef>

#include "tensor/autograd/tape.h"

namespace muster::ops {

struct Pool2dOptions {
  std::size_t kernel = 2;  // At most 16.
  std::size_t stride = 2;
  std::size_t padding = 0;  // On each of the four sides, at most kernel / 2.
};

// x [samples, height, width, channels], f32 or bf16 -> [samples, out_h, out_w, channels] of its
// type, out_h = (height + 2 padding - kernel) / stride + 1, rounded down; rows and columns beyond
// the last window are ignored. Padding is never the maximum. The gradient goes to the window's
// first maximum in row-major order; a NaN counts as the maximum.
Tensor MaxPool2d(Tape& tape, Tensor x, const Pool2dOptions& options = {});

// The same shapes; the sum of each window divided by kernel^2, the padding counting as zeros.
Tensor AvgPool2d(Tape& tape, Tensor x, const Pool2dOptions& options = {});

}  // namespace muster::ops
