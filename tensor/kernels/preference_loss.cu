#include "tensor/cuda/fused_loss.cuh"
#include "tensor/cuda/op_functions.cuh"
#include "tensor/kernels/preference_terms.h"

namespace muster::cuda {

namespace {

template <class T>
void BradleyTerryOf(Stream& stream, const BradleyTerryLossArgs& args) {
  FusedLoss<4>(
      stream, args.loss,
      kernels::BradleyTerryTerms<T>{As<T>(args.chosen), As<T>(args.rejected), args.margins});
}

template <class T, class Args>
kernels::PairsOfTwo<T> PairsOf(const Args& args) {
  return {As<T>(args.chosen), As<T>(args.rejected), args.chosen_reference, args.rejected_reference};
}

template <class T>
void DpoOf(Stream& stream, const DpoLossArgs& args) {
  FusedLoss<4>(stream, args.loss,
               kernels::DpoTerms<T>{PairsOf<T>(args), args.beta, args.label_smoothing});
}

template <class T>
void IpoOf(Stream& stream, const IpoLossArgs& args) {
  FusedLoss<4>(stream, args.loss, kernels::IpoTerms<T>{PairsOf<T>(args), args.beta});
}

}  // namespace

void BradleyTerryLoss(Stream& stream, const BradleyTerryLossArgs& args) {
  MUSTER_BY_TYPE(args.loss.type, BradleyTerryOf, stream, args);
}

void DpoLoss(Stream& stream, const DpoLossArgs& args) {
  MUSTER_BY_TYPE(args.loss.type, DpoOf, stream, args);
}

void IpoLoss(Stream& stream, const IpoLossArgs& args) {
  MUSTER_BY_TYPE(args.loss.type, IpoOf, stream, args);
}

}  // namespace muster::cuda
