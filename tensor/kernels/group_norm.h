// Group norm of images (row_norm.h has the norms of rows).
// Source: Wu and He, arXiv:1803.08494.
#pragma once

#include <cstddef>

#include "tensor/autograd/tape.h"

namespace muster::ops {

// y = (x - mean) / sqrt(variance + epsilon) * gain + bias, f32 or bf16, with x [samples, height,
// width, channels]; mean and biased variance over each sample's height, width and channels / groups
// neighbouring channels. `groups` divides channels. gain and bias [channels].
Tensor GroupNorm(Tape& tape, Tensor x, Tensor gain, Tensor bias, std::size_t groups,
                 float epsilon = 1e-5F);

}  // namespace muster::ops
