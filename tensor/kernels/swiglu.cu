#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

template <class T>
void ForwardOf(Stream& stream, const SwiGluForwardArgs& args) {
  const T *const gate = As<T>(args.gate), *const up = As<T>(args.up);
  T* const y = As<T>(args.y);
  ForEach(stream, args.count, [=] __device__(std::size_t i) {
    y[i] = T(kernels::FastSilu(ToFloat(gate[i])) * ToFloat(up[i]));
  });
}

template <class T>
void BackwardOf(Stream& stream, const SwiGluBackwardArgs& args) {
  const T *const gate = As<T>(args.gate), *const up = As<T>(args.up), *const dy = As<T>(args.dy);
  T *const dgate = As<T>(args.dgate), *const dup = As<T>(args.dup);
  const bool accumulate_gate = args.accumulate_gate, accumulate_up = args.accumulate_up;
  ForEach(stream, args.count, [=] __device__(std::size_t i) {
    const float g = ToFloat(gate[i]), slope = ToFloat(dy[i]), u = ToFloat(up[i]);
    if (dgate != nullptr) {
      Put(dgate[i], u * (slope * kernels::FastSiluSlope(g)), accumulate_gate);
    }
    if (dup != nullptr) Put(dup[i], slope * kernels::FastSilu(g), accumulate_up);
  });
}

}  // namespace

void SwiGluForward(Stream& stream, const SwiGluForwardArgs& args) {
  MUSTER_BY_TYPE(args.type, ForwardOf, stream, args);
}

void SwiGluBackward(Stream& stream, const SwiGluBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, BackwardOf, stream, args);
}

}  // namespace muster::cuda
