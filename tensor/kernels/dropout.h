// Dropout: elements set to zero at random in training, the others scaled up in their place.
// Source: Srivastava et al., JMLR 15 (2014), in its inverted form.
#pragma once

#include "base/random_key.h"
#include "tensor/autograd/tape.h"

namespace muster::ops {

// y[i] = 0 with `probability` in [0, 1), otherwise x[i] / (1 - probability); any shape, f32 or
// bf16. Element i is number key.index + i of its stream: word number % 4 of the block with index
// number / 4 decides, whatever x is part of. So a tensor may be cut anywhere, and two tensors of a
// step need numbers (or lanes) that do not overlap. Nothing is saved: the backward pass draws anew.
// In inference, and where the probability is 0, y is x itself.
Tensor Dropout(Tape& tape, Tensor x, float probability, const RandomKey& key);

}  // namespace muster::ops
