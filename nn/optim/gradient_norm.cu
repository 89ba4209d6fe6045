#include <cmath>

#include "tensor/cuda/block.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

constexpr std::size_t kFlatBlock = 65536;  // nn/optim/blocks.h

__global__ void BlockSquares(const float* gradients, std::size_t count, double* sums) {
  const std::size_t begin = blockIdx.x * kFlatBlock;
  const std::size_t size = count - begin < kFlatBlock ? count - begin : kFlatBlock;
  const double sum = BlockSumInDouble(size, [=](std::size_t i) {
    const auto value = static_cast<double>(gradients[begin + i]);
    return value * value;
  });
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// The blocks' sums in a fixed binary tree, and the root of it all.
__global__ void TreeRoot(double* sums, std::size_t count, double* norm) {
  for (std::size_t step = 1; step < count; step *= 2) {
    for (std::size_t left = 2 * step * threadIdx.x; left + step < count;
         left += 2 * step * kThreads) {
      sums[left] += sums[left + step];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) norm[0] = count == 0 ? 0.0 : std::sqrt(sums[0]);
}

}  // namespace

void GradientNorm(Stream& stream, const GradientNormArgs& args) {
  const unsigned blocks = BlocksOf(args.count, kFlatBlock);
  auto* const sums = stream.Scratch<double>(blocks);
  Launch(stream, blocks, kThreads, BlockSquares, args.gradients, args.count, sums);
  Launch(stream, 1, kThreads, TreeRoot, sums, static_cast<std::size_t>(blocks), args.norm);
}

}  // namespace muster::cuda
