#include "tensor/kernels/row_sum.h"

#include <algorithm>

#include "tensor/bfloat16.h"
#include "tensor/kernels/wide.h"

namespace muster::kernels {

namespace {

constexpr std::size_t kColumns = 1024;  // Whose sums are kept nearby.

// total[c] += x[row, c] for rows 0, 1, ...
template <class T>
void AddRowsTo(const T* x, std::size_t rows, std::size_t stride, std::size_t columns,
               float* __restrict total) {
  std::size_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    const T *const a = x + row * stride, *const b = a + stride, *const c = b + stride,
                   *const d = c + stride;
    for (std::size_t i = 0; i < columns; ++i) {
      total[i] = total[i] + ToFloat(a[i]) + ToFloat(b[i]) + ToFloat(c[i]) + ToFloat(d[i]);
    }
  }
  for (; row < rows; ++row) {
    for (std::size_t i = 0; i < columns; ++i) total[i] += ToFloat(x[row * stride + i]);
  }
}

}  // namespace

template <class T>
void SumRows(const T* x, std::size_t rows, std::size_t columns, float* sums) {
  std::fill_n(sums, columns, 0.0F);
  for (std::size_t first = 0; first < columns; first += kColumns) {
    const std::size_t width = std::min(kColumns, columns - first);
    for (std::size_t begin = 0; begin < rows; begin += kSumRowsBlock) {
      Wide([&] {
        float total[kColumns];
        for (std::size_t i = 0; i < width; ++i) total[i] = 0;
        AddRowsTo(x + begin * columns + first, std::min(kSumRowsBlock, rows - begin), columns,
                  width, total);
        for (std::size_t i = 0; i < width; ++i) sums[first + i] += total[i];
      });
    }
  }
}

template void SumRows(const float*, std::size_t, std::size_t, float*);
template void SumRows(const BFloat16*, std::size_t, std::size_t, float*);

}  // namespace muster::kernels
