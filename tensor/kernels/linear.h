// Fully connected layer: y = activation(x W^T + b).
#pragma once

#include "tensor/autograd/tape.h"
#include "tensor/kernels/activation.h"

namespace muster::ops {

// x [rows, in] (leading dimensions are taken together), weight [out, in], bias [out] or no tensor.
// Returns [rows, out]. The pool shares blocks of rows and of columns, never the sum over `in`.
Tensor Linear(Tape& tape, Tensor x, Tensor weight, Tensor bias,
              Activation activation = Activation::kNone);

}  // namespace muster::ops
