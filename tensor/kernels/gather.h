// Rows picked by index, and rows added where indices say: each is the other's backward pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/autograd/tape.h"

namespace muster::ops {

// y[i] = x[indices[i]]: x [rows, ..] to [indices, ..] of its type, f32 or bf16. An index may come
// several times or never; one outside [0, rows) is refused. x's gradient has its type: the
// contributions to a row are added in f32 in ascending i and rounded once.
Tensor GatherRows(Tape& tape, Tensor x, std::span<const std::int32_t> indices);

// y[r] = the sum of x[i] over the i with indices[i] = r, in ascending order, in f32, rounded once;
// zeros where there is none. x [indices, ..] to [rows, ..]; an index outside [0, rows) is refused.
Tensor ScatterAddRows(Tape& tape, Tensor x, std::span<const std::int32_t> indices,
                      std::size_t rows);

}  // namespace muster::ops
