// Tensors put together and cut apart along a dimension, by copying.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/autograd/tape.h"

namespace muster::ops {

// The parts one after the other along `dimension`: equal types, and equal sizes in every other
// dimension; at least one part. A tensor may be several of them.
Tensor Concatenate(Tape& tape, std::span<const Tensor> parts, std::size_t dimension);

// The `count` indices from `begin` on along `dimension`; all are in x. The gradient of the rest of
// x is zero.
Tensor Slice(Tape& tape, Tensor x, std::size_t dimension, std::size_t begin, std::size_t count);

}  // namespace muster::ops
