#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

template <class T>
void ForwardOf(Stream& stream, const ActivationForwardArgs& args) {
  const T* const x = As<T>(args.x);
  T* const y = As<T>(args.y);
  const Activation activation = args.activation;
  ForEach(stream, args.count, [=] __device__(std::size_t i) {
    y[i] = T(kernels::ActivationOf(activation, ToFloat(x[i])));
  });
}

template <class T>
void BackwardOf(Stream& stream, const ActivationBackwardArgs& args) {
  const T *const saved = As<T>(args.saved), *const dy = As<T>(args.dy);
  T* const dx = As<T>(args.dx);
  const Activation activation = args.activation;
  const bool accumulate = args.accumulate;
  ForEach(stream, args.count, [=] __device__(std::size_t i) {
    // Rounded before it is added, as on the CPU.
    const T slope = T(kernels::ActivationSlope(activation, ToFloat(saved[i]), ToFloat(dy[i])));
    Put(dx[i], ToFloat(slope), accumulate);
  });
}

}  // namespace

void ActivationForward(Stream& stream, const ActivationForwardArgs& args) {
  MUSTER_BY_TYPE(args.type, ForwardOf, stream, args);
}

void ActivationBackward(Stream& stream, const ActivationBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, BackwardOf, stream, args);
}

}  // namespace muster::cuda
