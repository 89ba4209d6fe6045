#include "nn/optim/gradient_norm.h"

#include <cmath>
#include <vector>

#include "nn/optim/blocks.h"

namespace muster::nn {

namespace {

// Sixteen sums side by side, so that the loop vectorises and the order is still fixed.
double BlockSum(const float* values, std::size_t count) {
  constexpr std::size_t kSums = 16;
  double sums[kSums] = {};
  std::size_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (std::size_t j = 0; j < kSums; ++j) {
      const auto value = static_cast<double>(values[i + j]);
      sums[j] += value * value;
    }
  }
  for (; i < count; ++i)
    sums[i % kSums] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  for (std::size_t step = 1; step < kSums; step *= 2) {
    for (std::size_t j = 0; j < kSums; j += 2 * step) sums[j] += sums[j + step];
  }
  return sums[0];
}

}  // namespace

std::vector<double> BlockSums(std::span<const float> gradients, ThreadPool* pool) {
  std::vector<double> sums(FlatBlocks(gradients.size()));
  ForFlatBlocks(pool, gradients.size(), [&](std::size_t block, std::size_t begin, std::size_t end) {
    sums[block] = BlockSum(gradients.data() + begin, end - begin);
  });
  return sums;
}

double NormOfBlockSums(std::span<const double> sums) {
  if (sums.empty()) return 0;
  std::vector<double> tree(sums.begin(), sums.end());
  for (std::size_t step = 1; step < tree.size(); step *= 2) {
    for (std::size_t left = 0; left + step < tree.size(); left += 2 * step) {
      tree[left] += tree[left + step];
    }
  }
  return std::sqrt(tree[0]);
}

double GradientNorm(std::span<const float> gradients, ThreadPool* pool) {
  return NormOfBlockSums(BlockSums(gradients, pool));
}

float ClipScale(double norm, double norm_max) {
  if (norm_max == 0.0 || !(norm > norm_max)) return 1.0F;
  return static_cast<float>(norm_max / norm);
}

}  // namespace muster::nn
