#include "tensor/kernels/row_sum.h"

#include <algorithm>
#include <cstring>

namespace muster::kernels {

namespace {

constexpr std::size_t kRows = 128;
constexpr std::size_t kTile = 32;  // Columns whose sums stay in registers.

using Eight = float __attribute__((vector_size(32)));

void AddTile(const float* x, std::size_t rows, std::size_t stride, float* sums) {
  Eight total[kTile / 8] = {};
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t i = 0; i < kTile / 8; ++i) {
      Eight values;
      std::memcpy(&values, x + row * stride + i * 8, sizeof(values));
      total[i] += values;
    }
  }
  for (std::size_t i = 0; i < kTile; ++i) sums[i] += total[i / 8][i % 8];
}

// The same order of additions for the columns beyond the last whole tile.
void AddColumn(const float* x, std::size_t rows, std::size_t stride, float* sum) {
  float total = 0.0F;
  for (std::size_t row = 0; row < rows; ++row) total += x[row * stride];
  *sum += total;
}

}  // namespace

void SumRows(const float* x, std::size_t rows, std::size_t columns, float* sums) {
  std::fill_n(sums, columns, 0.0F);
  for (std::size_t begin = 0; begin < rows; begin += kRows) {
    const std::size_t count = std::min(kRows, rows - begin);
    const float* const from = x + begin * columns;
    std::size_t column = 0;
    for (; column + kTile <= columns; column += kTile) {
      AddTile(from + column, count, columns, sums + column);
    }
    for (; column < columns; ++column) AddColumn(from + column, count, columns, sums + column);
  }
}

}  // namespace muster::kernels
