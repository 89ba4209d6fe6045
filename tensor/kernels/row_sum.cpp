#include "tensor/kernels/row_sum.h"

#include <algorithm>
#include <cstring>

#include "tensor/bfloat16.h"

namespace muster::kernels {

namespace {

constexpr std::size_t kRows = 128;
constexpr std::size_t kTile = 32;  // Columns whose sums stay in registers.

using Eight = float __attribute__((vector_size(32)));

Eight Load(const float* from) {
  Eight values;
  std::memcpy(&values, from, sizeof(values));
  return values;
}
Eight Load(const BFloat16* from) {
  using Bits = std::uint16_t __attribute__((vector_size(16)));
  using Words = std::uint32_t __attribute__((vector_size(32)));
  Bits bits;
  std::memcpy(&bits, from, sizeof(bits));
  const Words words = __builtin_convertvector(bits, Words) << 16U;
  Eight values;
  std::memcpy(&values, &words, sizeof(values));
  return values;
}

template <class T>
void AddTile(const T* x, std::size_t rows, std::size_t stride, float* sums) {
  Eight total[kTile / 8] = {};
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t i = 0; i < kTile / 8; ++i) {
      total[i] += Load(x + row * stride + i * 8);
    }
  }
  for (std::size_t i = 0; i < kTile; ++i) sums[i] += total[i / 8][i % 8];
}

// The same order of additions for the columns beyond the last whole tile.
template <class T>
void AddColumn(const T* x, std::size_t rows, std::size_t stride, float* sum) {
  float total = 0.0F;
  for (std::size_t row = 0; row < rows; ++row) total += ToFloat(x[row * stride]);
  *sum += total;
}

}  // namespace

template <class T>
void SumRows(const T* x, std::size_t rows, std::size_t columns, float* sums) {
  std::fill_n(sums, columns, 0.0F);
  for (std::size_t begin = 0; begin < rows; begin += kRows) {
    const std::size_t count = std::min(kRows, rows - begin);
    const T* const from = x + begin * columns;
    std::size_t column = 0;
    for (; column + kTile <= columns; column += kTile) {
      AddTile(from + column, count, columns, sums + column);
    }
    for (; column < columns; ++column) AddColumn(from + column, count, columns, sums + column);
  }
}

template void SumRows(const float*, std::size_t, std::size_t, float*);
template void SumRows(const BFloat16*, std::size_t, std::size_t, float*);

}  // namespace muster::kernels
