#include "nn/orthogonal.h"

#include <cmath>

#include "base/check.h"

namespace muster::nn {

namespace {

// In eight partial sums, so that it vectorises without leave to reorder.
double InnerProduct(const double* a, const double* b, std::size_t length) {
  constexpr std::size_t kSums = 8;
  double sums[kSums] = {};
  std::size_t i = 0;
  for (; i + kSums <= length; i += kSums) {
    for (std::size_t k = 0; k < kSums; ++k) sums[k] += a[i + k] * b[i + k];
  }
  for (std::size_t k = 0; i < length; ++i, ++k) sums[k] += a[i] * b[i];
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

}  // namespace

void Orthonormalize(std::span<double> vectors, std::size_t count, std::size_t length) {
  MUSTER_CHECK(vectors.size() == count * length && count <= length,
               "more orthogonal vectors than dimensions");
  for (std::size_t row = 0; row < count; ++row) {
    double* const vector = vectors.data() + row * length;
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t before = 0; before < row; ++before) {
        const double* const other = vectors.data() + before * length;
        const double part = InnerProduct(vector, other, length);
        for (std::size_t i = 0; i < length; ++i) vector[i] -= part * other[i];
      }
    }
    const double norm = std::sqrt(InnerProduct(vector, vector, length));
    MUSTER_CHECK(norm > 0.0, "vectors that depend on each other");
    for (std::size_t i = 0; i < length; ++i) vector[i] /= norm;
  }
}

}  // namespace muster::nn
