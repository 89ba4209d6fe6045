// What the twins of fused losses share (tensor/kernels/fused_loss.h): sums in double over blocks of
// fixed size, which are then added in their order, and slopes in the same pass.
#pragma once

#include "tensor/cuda/block.cuh"
#include "tensor/cuda/loss_args.h"
#include "tensor/kernels/loss_terms.h"

namespace muster::cuda {

inline constexpr std::size_t kLossBlock = 16384;

template <std::size_t kSums, std::size_t kInputs>
__device__ void AddTerms(const kernels::LossTerms<kSums, kInputs>& terms, double* totals) {
  for (std::size_t k = 0; k < kSums; ++k) totals[k] += static_cast<double>(terms.sums[k]);
}

// parts[block, k]; `slopes` may be null.
template <std::size_t kSums, class Terms>
__global__ void LossParts(std::size_t count, Terms terms, float* slopes, double* parts) {
  const std::size_t begin = blockIdx.x * kLossBlock;
  const std::size_t end = begin + kLossBlock < count ? begin + kLossBlock : count;
  double totals[kSums] = {};
  for (std::size_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const auto element = terms(i);
    AddTerms(element, totals);
    if (slopes != nullptr) slopes[i] = element.slopes[0];
  }
  for (std::size_t k = 0; k < kSums; ++k) {
    const double total = BlockReduce(totals[k], Plus());
    if (threadIdx.x == 0) parts[blockIdx.x * kSums + k] = total;
  }
}

// Thread k adds parts[.., k].
template <std::size_t kSums>
__global__ void LossTotals(const double* parts, unsigned blocks, float scale, double* sums,
                           float* loss) {
  const std::size_t k = threadIdx.x;
  if (k >= kSums) return;
  double total = 0;
  for (unsigned block = 0; block < blocks; ++block) total += parts[block * kSums + k];
  sums[k] = total;
  if (k == 0) loss[0] = static_cast<float>(total * static_cast<double>(scale));
}

// terms(i) is the LossTerms of element i.
template <std::size_t kSums, class Terms>
void FusedLoss(Stream& stream, const FusedLossArgs& args, const Terms& terms) {
  const unsigned blocks = BlocksOf(args.count, kLossBlock);
  auto* const parts = stream.Scratch<double>(blocks * kSums);
  Launch(stream, blocks, kThreads, LossParts<kSums, Terms>, args.count, terms, args.slopes, parts);
  Launch(stream, 1, kWarp, LossTotals<kSums>, parts, blocks, args.scale, args.sums, args.loss);
}

}  // namespace muster::cuda
