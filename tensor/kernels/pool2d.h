// Max and average pooling over square windows, NHWC, without padding.
#pragma once

#include <cstddef>

#include "tensor/autograd/tape.h"

namespace muster::ops {

struct Pool2dOptions {
  std::size_t kernel = 2;
  std::size_t stride = 2;
};

// x [samples, height, width, channels] -> [samples, out_h, out_w, channels],
// out_h = (height - kernel) / stride + 1; rows and columns beyond the last window are ignored.
// The gradient goes to the window's first maximum in row-major order; a NaN counts as the maximum.
Tensor MaxPool2d(Tape& tape, Tensor x, const Pool2dOptions& options = {});

// The same shapes; the mean of each window.
Tensor AvgPool2d(Tape& tape, Tensor x, const Pool2dOptions& options = {});

}  // namespace muster::ops
