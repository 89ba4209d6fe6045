// Products of as many pairs of matrices as there are in a batch: c_i = a_i b_i, or a_i b_i^T.
#pragma once

#include "tensor/autograd/tape.h"

namespace muster::ops {

struct BatchedMatmulOptions {
  bool b_transposed = false;  // b is [batch, columns, inner].
};

// a [batch, rows, inner], b [batch, inner, columns], both f32 or both bf16, any size 0 or more ->
// [batch, rows, columns] of their type. Sums are made in f32, in ascending order of the inner index
// (kernels::Gemm), and rounded once: an element's bits depend on its row of a and its column of b
// alone. The pool shares the matrices of the batch, or where they are few the rows of each.
Tensor BatchedMatmul(Tape& tape, Tensor a, Tensor b, const BatchedMatmulOptions& options = {});

}  // namespace muster::ops
