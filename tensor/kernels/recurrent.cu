#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

template <class T>
void ResetRowsOf(Stream& stream, const ResetRowsArgs& args) {
  const T* const x = As<T>(args.x);
  const std::uint8_t* const done = args.done;
  T* const y = As<T>(args.y);
  const std::size_t width = args.width;
  const bool accumulate = args.accumulate;
  ForEach(stream, args.rows * width, [=] __device__(std::size_t i) {
    Put(y[i], done[i / width] != 0 ? 0.0F : ToFloat(x[i]), accumulate);
  });
}

}  // namespace

void ResetRows(Stream& stream, const ResetRowsArgs& args) {
  MUSTER_BY_TYPE(args.type, ResetRowsOf, stream, args);
}

}  // namespace muster::cuda
