// Two-dimensional convolution (cross-correlation, as everywhere in deep learning), NHWC.
#pragma once

#include <cstddef>

#include "tensor/autograd/tape.h"

namespace muster::ops {

struct Conv2dOptions {
  std::size_t stride = 1;
  std::size_t padding = 0;  // Zeros on each of the four sides.
  bool relu = false;        // Fused: y = max(0, conv + bias).
  // Fused after that: max pool with this window and stride, 1 = none. Saves most of the memory
  // traffic of a network's first layers, since the image before the pool is never stored.
  std::size_t max_pool = 1;
};

// x [samples, height, width, in], weight [out, in, kernel_h, kernel_w], bias [out] or no tensor,
// all f32 or all bf16, which is added up in f32 and rounded once. Returns [samples, out_h, out_w,
// out] of that type, out_h = (height + 2 padding - kernel_h) / stride + 1, divided by max_pool,
// rounded down. NaN may not pass a fused relu. A sample's output and input gradient have the same
// bits whatever others are beside it. The weight gradient, f32, is the tree sum of fixed blocks of
// samples, which the pool shares.
Tensor Conv2d(Tape& tape, Tensor x, Tensor weight, Tensor bias, const Conv2dOptions& options = {});

}  // namespace muster::ops
