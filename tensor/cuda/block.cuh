// Reductions over the threads of a warp or of a block, in a fixed order: a butterfly within a warp,
// then the warps in ascending order. Every thread calls them and gets the result.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <limits>

#include "tensor/cuda/launch.cuh"

namespace muster::cuda {

inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;

struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

// The larger one; NaN is larger than everything.
struct Larger {
  __device__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

struct Smaller {
  __device__ unsigned long long operator()(unsigned long long a, unsigned long long b) const {
    return a < b ? a : b;
  }
};

// Over `kSize` neighbouring lanes, a power of two up to 32; `combine` is commutative.
template <unsigned kSize = kWarp, class T, class Combine>
__device__ T WarpReduce(T value, Combine combine) {
  for (unsigned offset = kSize / 2; offset > 0; offset /= 2) {
    value = combine(value, __shfl_xor_sync(kAllLanes, value, static_cast<int>(offset)));
  }
  return value;
}

// Over the kThreads threads of a block.
template <class T, class Combine>
__device__ T BlockReduce(T value, Combine combine) {
  __shared__ T parts[kWarps];
  value = WarpReduce(value, combine);
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = value;
  __syncthreads();
  T total = parts[0];
  for (unsigned warp = 1; warp < kWarps; ++warp) total = combine(total, parts[warp]);
  __syncthreads();  // The next call writes to `parts`.
  return total;
}

// Sum (largest, smallest) of at(i) over i below count: thread t takes i = t, t + kThreads, ...
template <class At>
__device__ float BlockSum(std::size_t count, const At& at) {
  float sum = 0;
  for (std::size_t i = threadIdx.x; i < count; i += kThreads) sum += at(i);
  return BlockReduce(sum, Plus());
}
template <class At>
__device__ double BlockSumInDouble(std::size_t count, const At& at) {
  double sum = 0;
  for (std::size_t i = threadIdx.x; i < count; i += kThreads) sum += static_cast<double>(at(i));
  return BlockReduce(sum, Plus());
}
template <class At>
__device__ float BlockMax(std::size_t count, const At& at) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::size_t i = threadIdx.x; i < count; i += kThreads) largest = Larger()(at(i), largest);
  return BlockReduce(largest, Larger());
}
template <class At>
__device__ unsigned long long BlockMin(std::size_t count, const At& at) {
  unsigned long long smallest = ~0ULL;
  for (std::size_t i = threadIdx.x; i < count; i += kThreads) smallest = Smaller()(smallest, at(i));
  return BlockReduce(smallest, Smaller());
}

// The same over the lanes of a warp.
template <class At>
__device__ float WarpSum(std::size_t count, const At& at) {
  float sum = 0;
  for (std::size_t i = threadIdx.x % kWarp; i < count; i += kWarp) sum += at(i);
  return WarpReduce(sum, Plus());
}
template <class At>
__device__ float WarpMax(std::size_t count, const At& at) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::size_t i = threadIdx.x % kWarp; i < count; i += kWarp)
    largest = Larger()(at(i), largest);
  return WarpReduce(largest, Larger());
}

}  // namespace muster::cuda
