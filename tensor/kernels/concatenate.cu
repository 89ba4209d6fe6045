#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

template <class T>
void CopyRunsOf(Stream& stream, const CopyRunsArgs& args) {
  const T* const from = As<T>(args.from);
  T* const to = As<T>(args.to);
  const std::size_t length = args.length, from_stride = args.from_stride,
                    to_stride = args.to_stride;
  const bool accumulate = args.accumulate;
  ForEach(stream, args.runs * length, [=] __device__(std::size_t i) {
    const std::size_t run = i / length, at = i % length;
    const T value = from[run * from_stride + at];
    T& target = to[run * to_stride + at];
    target = accumulate ? T(ToFloat(target) + ToFloat(value)) : value;
  });
}

}  // namespace

void CopyRuns(Stream& stream, const CopyRunsArgs& args) {
  MUSTER_BY_TYPE(args.type, CopyRunsOf, stream, args);
}

}  // namespace muster::cuda
