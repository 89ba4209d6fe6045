// Column sums of a matrix in a fixed order: the gradient of a bias.
#pragma once

#include <cstddef>

namespace muster::kernels {

// sums[c] = sum over rows of x[rows, columns], `stride` elements apart: 128 rows at a time in
// ascending order, then the partial sums in ascending order, so that the rounding error does not
// grow with every row.
template <class T>
void SumRows(const T* x, std::size_t rows, std::size_t columns, std::size_t stride, float* sums);

}  // namespace muster::kernels
