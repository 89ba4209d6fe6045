// Reductions over the last dimension, and the largest elements of rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/autograd/tape.h"

namespace muster::ops {

// x [.., width] to [..] of its type, width > 0: added in f32 in a fixed order, rounded once.
Tensor SumLast(Tape& tape, Tensor x);
Tensor MeanLast(Tape& tape, Tensor x);

struct ValuesAndIndices {
  Tensor values;
  std::span<const std::int32_t> indices;  // As many as values; valid until the tape's next Begin.
};

// The first largest of each row and its index. NaN is larger than every number. The gradient goes
// to that element alone.
ValuesAndIndices MaxLast(Tape& tape, Tensor x);

// The k largest of each row, largest first, equal ones by ascending index, NaN before all numbers:
// x [.., width] to [.., k], 0 < k <= width. Has no gradient.
ValuesAndIndices TopK(Tape& tape, Tensor x, std::size_t k);

}  // namespace muster::ops
