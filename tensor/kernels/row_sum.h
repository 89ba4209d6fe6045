// Column sums of a matrix in a fixed order: the gradient of a bias.
#pragma once

#include <cstddef>

namespace muster::kernels {

inline constexpr std::size_t kSumRowsBlock = 128;

// sums[c] = sum over rows of x[rows, columns]: 128 rows at a time in ascending order, then the
// partial sums in ascending order, so that the rounding error does not grow with every row.
template <class T>
void SumRows(const T* x, std::size_t rows, std::size_t columns, float* sums);

}  // namespace muster::kernels
