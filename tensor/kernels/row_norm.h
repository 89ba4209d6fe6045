// Normalisations of rows: layer norm and RMS norm, f32 or bf16 with f32 statistics.
// Sources: Ba et al., arXiv:1607.06450; Zhang and Sennrich, arXiv:1910.07467.
#pragma once

#include "tensor/autograd/tape.h"

namespace muster::ops {

// y = (x - mean) / sqrt(variance + epsilon) * gain + bias over the last dimension of x [.., width];
// the variance is the biased one. gain and bias [width], of x's type.
Tensor LayerNorm(Tape& tape, Tensor x, Tensor gain, Tensor bias, float epsilon = 1e-5F);

// y = x / sqrt(mean of x^2 + epsilon) * gain over the last dimension; gain [width], of x's type.
Tensor RmsNorm(Tape& tape, Tensor x, Tensor gain, float epsilon = 1e-5F);

// The residual stream of a transformer's block and its norm, made in one pass: sum = x + residual,
// y = the norm of sum.
struct SumAndNorm {
  Tensor sum, y;
};
SumAndNorm AddLayerNorm(Tape& tape, Tensor x, Tensor residual, Tensor gain, Tensor bias,
                        float epsilon = 1e-5F);
SumAndNorm AddRmsNorm(Tape& tape, Tensor x, Tensor residual, Tensor gain, float epsilon = 1e-5F);

}  // namespace muster::ops
