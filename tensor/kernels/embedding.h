// Embedding: the rows of a table that token ids name.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/autograd/tape.h"

namespace muster::ops {

// y[i] = table[ids[i]]: table [vocabulary, width], f32 or bf16, to [ids, width] of its type. An id
// outside [0, vocabulary) is refused; so are 2^31 ids or more.
// The table's gradient is f32: each row's contributions are added in the order of their ids'
// positions, so its bits depend on no thread. It may have other uses (a tied output layer): then
// only the rows that `ids` names are touched.
Tensor Embedding(Tape& tape, Tensor table, std::span<const std::int32_t> ids);

}  // namespace muster::ops
