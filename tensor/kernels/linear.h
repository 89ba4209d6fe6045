// Fully connected layer: y = activation(x W^T + b).
#pragma once

#include "tensor/autograd/tape.h"
#include "tensor/kernels/activation.h"

namespace muster::ops {

// x [rows, in] (leading dimensions are taken together), weight [out, in], bias [out] or no tensor;
// all f32 or all bf16. Returns [rows, out] of that type. A row of y has the same bits whatever
// other rows are beside it.
Tensor Linear(Tape& tape, Tensor x, Tensor weight, Tensor bias,
              Activation activation = Activation::kNone);

}  // namespace muster::ops
