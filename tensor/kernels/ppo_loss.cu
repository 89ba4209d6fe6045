#include "tensor/cuda/fused_loss.cuh"
#include "tensor/cuda/op_functions.cuh"
#include "tensor/kernels/ppo_terms.h"

namespace muster::cuda {

namespace {

template <class T>
void SurrogateOf(Stream& stream, const ClippedSurrogateArgs& args) {
  FusedLoss<6>(
      stream, args.loss,
      kernels::SurrogateTerms<T>{As<T>(args.log_probs), args.old_log_probs, args.advantages,
                                 args.weights, 1.0F - args.clip_low, 1.0F + args.clip_high});
}

template <class T>
void SquaresOf(Stream& stream, const ValueLossArgs& args) {
  FusedLoss<2>(stream, args.loss,
               kernels::SquareTerms<T>{As<T>(args.values), args.targets, args.weights});
}

template <class T>
void ClippedSquaresOf(Stream& stream, const ClippedValueLossArgs& args) {
  FusedLoss<3>(stream, args.loss,
               kernels::ClippedSquareTerms<T>{As<T>(args.values), args.old_values, args.targets,
                                              args.weights, args.clip});
}

template <class T>
void BackwardOf(Stream& stream, const LossBackwardArgs& args) {
  const LossBackwardArgs a = args;
  T* const dx = As<T>(args.dx);
  ForEach(stream, args.count, [=] __device__(std::size_t i) {
    const float factor = a.dy[0] * a.factor;
    Put(dx[i], factor * a.slopes[i], a.accumulate);
  });
}

}  // namespace

void ClippedSurrogate(Stream& stream, const ClippedSurrogateArgs& args) {
  MUSTER_BY_TYPE(args.loss.type, SurrogateOf, stream, args);
}

void ValueLoss(Stream& stream, const ValueLossArgs& args) {
  MUSTER_BY_TYPE(args.loss.type, SquaresOf, stream, args);
}

void ClippedValueLoss(Stream& stream, const ClippedValueLossArgs& args) {
  MUSTER_BY_TYPE(args.loss.type, ClippedSquaresOf, stream, args);
}

void LossBackward(Stream& stream, const LossBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, BackwardOf, stream, args);
}

}  // namespace muster::cuda
