#include <cmath>

#include "tensor/cuda/block.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

using kernels::FastExp;
using kernels::FastLog;

// A block of threads to a row.
template <class T>
__global__ void ForwardRow(SoftmaxForwardArgs args) {
  const std::size_t width = args.width, at = blockIdx.x * width;
  const T* const x = As<T>(args.x) + at;
  T* const y = As<T>(args.y) + at;
  const float largest = BlockMax(width, [=](std::size_t i) { return ToFloat(x[i]); });
  const auto sum = static_cast<float>(
      BlockSumInDouble(width, [=](std::size_t i) { return FastExp(ToFloat(x[i]) - largest); }));
  const float log_sum = args.log ? FastLog(sum) : 0.0F;
  for (std::size_t i = threadIdx.x; i < width; i += kThreads) {
    const float shifted = ToFloat(x[i]) - largest;
    y[i] = T(args.log ? shifted - log_sum : FastExp(shifted) / sum);
  }
  if (args.scales != nullptr && threadIdx.x == 0) args.scales[blockIdx.x] = {largest, sum};
}

// softmax: dx = p (dy - sum of dy p); its logarithm: dx = dy - p * sum of dy.
template <class T>
__global__ void BackwardRow(SoftmaxBackwardArgs args) {
  const std::size_t width = args.width, at = blockIdx.x * width;
  const T *const x = As<T>(args.x) + at, *const dy = As<T>(args.dy) + at;
  T* const dx = As<T>(args.dx) + at;
  const RowScale scale = args.scales[blockIdx.x];
  const bool log = args.log;
  const auto p = [=](std::size_t i) { return FastExp(ToFloat(x[i]) - scale.largest) / scale.sum; };
  const auto sum = static_cast<float>(BlockSumInDouble(width, [=](std::size_t i) {
    const float g = ToFloat(dy[i]);
    return log ? g : g * p(i);
  }));
  for (std::size_t i = threadIdx.x; i < width; i += kThreads) {
    const float g = ToFloat(dy[i]);
    Put(dx[i], log ? g - p(i) * sum : p(i) * (g - sum), args.accumulate);
  }
}

template <class T>
void ForwardOf(Stream& stream, const SoftmaxForwardArgs& args) {
  Launch(stream, BlocksOf(args.rows, 1), kThreads, ForwardRow<T>, args);
}

template <class T>
void BackwardOf(Stream& stream, const SoftmaxBackwardArgs& args) {
  Launch(stream, BlocksOf(args.rows, 1), kThreads, BackwardRow<T>, args);
}

}  // namespace

void SoftmaxForward(Stream& stream, const SoftmaxForwardArgs& args) {
  MUSTER_BY_TYPE(args.type, ForwardOf, stream, args);
}

void SoftmaxBackward(Stream& stream, const SoftmaxBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, BackwardOf, stream, args);
}

}  // namespace muster::cuda
