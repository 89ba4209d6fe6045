// Arithmetic on tensors of equal shape, views and reductions to one element.
#pragma once

#include "tensor/autograd/tape.h"

namespace muster::ops {

Tensor Add(Tape& tape, Tensor a, Tensor b);       // a + b, equal shapes.
Tensor Multiply(Tape& tape, Tensor a, Tensor b);  // a * b element by element, equal shapes.
Tensor Scale(Tape& tape, Tensor x, float factor);

// The same values under another shape with as many elements; no copy.
Tensor Reshape(Tape& tape, Tensor x, const Shape& shape);
// [samples, ...] -> [samples, product of the rest]; images flatten in the order h, w, channel.
Tensor Flatten(Tape& tape, Tensor x);

// One element: the sum (mean) in a fixed order, added up in double precision. Not for zero
// elements.
Tensor Sum(Tape& tape, Tensor x);
Tensor Mean(Tape& tape, Tensor x);

}  // namespace muster::ops
