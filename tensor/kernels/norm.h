// Normalisations that do not depend on the batch.
// Sources: layer norm, Ba et al., arXiv:1607.06450; group norm, Wu and He, arXiv:1803.08494.
#pragma once

#include <cstddef>

#include "tensor/autograd/tape.h"

namespace muster::ops {

// y = (x - mean) / sqrt(variance + epsilon) * gain + bias over the last dimension of x [.., width];
// the variance is the biased one. gain and bias [width].
Tensor LayerNorm(Tape& tape, Tensor x, Tensor gain, Tensor bias, float epsilon = 1e-5F);

// x [samples, height, width, channels]; mean and variance over each sample's height, width and
// channels / groups neighbouring channels. `groups` divides channels. gain and bias [channels].
Tensor GroupNorm(Tape& tape, Tensor x, Tensor gain, Tensor bias, std::size_t groups,
                 float epsilon = 1e-5F);

}  // namespace muster::ops
