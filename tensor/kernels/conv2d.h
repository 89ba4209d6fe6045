// Two-dimensional convolution (cross-correlation, as everywhere in deep learning), NHWC.
#pragma once

#include <cstddef>

#include "tensor/autograd/tape.h"

namespace muster::ops {

struct Conv2dOptions {
  std::size_t stride = 1;
  std::size_t padding = 0;  // Zeros on each of the four sides.
  bool relu = false;        // Fused: y = max(0, conv + bias).
};

// x [samples, height, width, in], weight [out, in, kernel_h, kernel_w], bias [out] or no tensor.
// Returns [samples, out_h, out_w, out], out_h = (height + 2 padding - kernel_h) / stride + 1.
// The pool shares fixed blocks of samples; the weight gradient is the tree sum of the blocks'.
Tensor Conv2d(Tape& tape, Tensor x, Tensor weight, Tensor bias, const Conv2dOptions& options = {});

}  // namespace muster::ops
