// Arithmetic on tensors of equal shape and type, views and reductions to one element. bf16 values
// are turned into f32, worked on and rounded once.
#pragma once

#include "tensor/autograd/tape.h"

namespace muster::ops {

Tensor Add(Tape& tape, Tensor a, Tensor b);  // a + b, equal shapes.
// For ops that make a + b on their way: Add, but for the values, which the caller puts there.
Tensor UnfilledSum(Tape& tape, Tensor a, Tensor b);
Tensor Multiply(Tape& tape, Tensor a, Tensor b);  // a * b element by element, equal shapes.
Tensor Scale(Tape& tape, Tensor x, float factor);

// The values as f32 or as bf16, rounded to nearest; x itself if it has the type.
Tensor Cast(Tape& tape, Tensor x, DType type);

// The same values under another shape with as many elements; no copy.
Tensor Reshape(Tape& tape, Tensor x, const Shape& shape);
// [samples, ...] -> [samples, product of the rest]; images flatten in the order h, w, channel.
Tensor Flatten(Tape& tape, Tensor x);

// One element, f32: the sum (mean) in a fixed order, added up in double precision. Not for zero
// elements.
Tensor Sum(Tape& tape, Tensor x);
Tensor Mean(Tape& tape, Tensor x);

}  // namespace muster::ops
