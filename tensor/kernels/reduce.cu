#include "tensor/cuda/block.cuh"
#include "tensor/cuda/op_functions.cuh"
#include "tensor/kernels/descending_key.h"

namespace muster::cuda {

namespace {

// A block of threads to a row, here and below.
template <class T>
__global__ void SumOfRow(SumLastArgs args) {
  const T* const x = As<T>(args.x) + blockIdx.x * args.width;
  const double sum = BlockSumInDouble(args.width, [=](std::size_t i) { return ToFloat(x[i]); });
  if (threadIdx.x == 0) {
    As<T>(args.y)[blockIdx.x] = T(static_cast<float>(sum / args.divisor));
  }
}

template <class T>
__global__ void LargestOfRow(MaxLastArgs args) {
  const T* const x = As<T>(args.x) + blockIdx.x * args.width;
  const unsigned long long key = BlockMin(args.width, [=](std::size_t i) -> unsigned long long {
    return kernels::DescendingKey(ToFloat(x[i]), i);
  });
  if (threadIdx.x != 0) return;
  const std::size_t index = kernels::IndexOf(key);
  args.indices[blockIdx.x] = static_cast<std::int32_t>(index);
  As<T>(args.y)[blockIdx.x] = x[index];
}

// The next key in the order, k times.
template <class T>
__global__ void LargestOnesOfRow(TopKArgs args) {
  const T* const x = As<T>(args.x) + blockIdx.x * args.width;
  const std::size_t at = blockIdx.x * args.k;
  unsigned long long least = 0;  // Of the keys that are left.
  for (std::size_t n = 0; n < args.k; ++n) {
    const unsigned long long key = BlockMin(args.width, [=](std::size_t i) -> unsigned long long {
      const unsigned long long here = kernels::DescendingKey(ToFloat(x[i]), i);
      return here < least ? ~0ULL : here;
    });
    least = key + 1;
    if (threadIdx.x != 0) continue;
    const std::size_t index = kernels::IndexOf(key);
    args.indices[at + n] = static_cast<std::int32_t>(index);
    As<T>(args.y)[at + n] = x[index];
  }
}

template <class T>
void SumLastOf(Stream& stream, const SumLastArgs& args) {
  Launch(stream, BlocksOf(args.rows, 1), kThreads, SumOfRow<T>, args);
}

template <class T>
void SumLastBackwardOf(Stream& stream, const SumLastBackwardArgs& args) {
  const T* const dy = As<T>(args.dy);
  T* const dx = As<T>(args.dx);
  const std::size_t width = args.width;
  const float factor = args.factor;
  const bool accumulate = args.accumulate;
  ForEach(stream, args.rows * width, [=] __device__(std::size_t i) {
    Put(dx[i], ToFloat(dy[i / width]) * factor, accumulate);
  });
}

template <class T>
void MaxLastOf(Stream& stream, const MaxLastArgs& args) {
  Launch(stream, BlocksOf(args.rows, 1), kThreads, LargestOfRow<T>, args);
}

template <class T>
void MaxLastBackwardOf(Stream& stream, const MaxLastBackwardArgs& args) {
  const T* const dy = As<T>(args.dy);
  T* const dx = As<T>(args.dx);
  const std::int32_t* const indices = args.indices;
  const std::size_t width = args.width;
  const bool accumulate = args.accumulate;
  ForEach(stream, args.rows * width, [=] __device__(std::size_t i) {
    const std::size_t row = i / width;
    const bool chosen = static_cast<std::size_t>(indices[row]) == i % width;
    if (chosen || !accumulate) Put(dx[i], chosen ? ToFloat(dy[row]) : 0.0F, accumulate);
  });
}

template <class T>
void TopKOf(Stream& stream, const TopKArgs& args) {
  Launch(stream, BlocksOf(args.rows, 1), kThreads, LargestOnesOfRow<T>, args);
}

}  // namespace

void SumLast(Stream& stream, const SumLastArgs& args) {
  MUSTER_BY_TYPE(args.type, SumLastOf, stream, args);
}

void SumLastBackward(Stream& stream, const SumLastBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, SumLastBackwardOf, stream, args);
}

void MaxLast(Stream& stream, const MaxLastArgs& args) {
  MUSTER_BY_TYPE(args.type, MaxLastOf, stream, args);
}

void MaxLastBackward(Stream& stream, const MaxLastBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, MaxLastBackwardOf, stream, args);
}

void TopK(Stream& stream, const TopKArgs& args) { MUSTER_BY_TYPE(args.type, TopKOf, stream, args); }

}  // namespace muster::cuda
