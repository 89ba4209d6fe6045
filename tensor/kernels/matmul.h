// Matrix product on the calling thread, over oneDNN.
#pragma once

#include <cstddef>

namespace muster::kernels {

// One operand: element (i, j) is at data[i * row_stride + j * column_stride]; one stride is 1.
struct MatrixView {
  const float* data = nullptr;
  std::size_t row_stride = 0;
  std::size_t column_stride = 1;
};

struct MatMulArgs {
  std::size_t rows = 0;  // > 0, like the other two.
  std::size_t columns = 0;
  std::size_t inner = 0;
  MatrixView a;                 // [rows, inner]
  MatrixView b;                 // [inner, columns]
  const float* bias = nullptr;  // [columns] or null.
  bool relu = false;            // c = max(0, a b + bias); not together with accumulate.
  bool accumulate = false;      // c += a b.
  float* c = nullptr;           // [rows, columns]
  std::size_t c_row_stride = 0;
};

// The bits of a row depend on the shape and the row's values alone, not on the thread.
void MatMul(const MatMulArgs& args);

}  // namespace muster::kernels
