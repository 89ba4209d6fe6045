#include "tensor/cuda/fused_loss.cuh"
#include "tensor/cuda/op_functions.cuh"
#include "tensor/kernels/kl_terms.h"

namespace muster::cuda {

namespace {

using ops::KlEstimator;

template <class T, KlEstimator kEstimator>
void EstimatesBy(Stream& stream, const KlEstimatesArgs& args) {
  const KlEstimatesArgs a = args;
  const T* const log_probs = As<T>(args.log_probs);
  ForEach(stream, args.count, [=] __device__(std::size_t i) {
    const kernels::KlEstimate estimate =
        kernels::KlEstimateOf<kEstimator>(a.reference[i] - ToFloat(log_probs[i]));
    a.estimates[i] = estimate.value;
    if (a.slopes != nullptr) a.slopes[i] = estimate.slope;
  });
}

template <class T>
void EstimatesOf(Stream& stream, const KlEstimatesArgs& args) {
  switch (args.estimator) {
    case KlEstimator::kK1:
      return EstimatesBy<T, KlEstimator::kK1>(stream, args);
    case KlEstimator::kK2:
      return EstimatesBy<T, KlEstimator::kK2>(stream, args);
    case KlEstimator::kK3:
      return EstimatesBy<T, KlEstimator::kK3>(stream, args);
  }
}

template <class T>
void EstimatesBackwardOf(Stream& stream, const KlEstimatesBackwardArgs& args) {
  const KlEstimatesBackwardArgs a = args;
  T* const dx = As<T>(args.dx);
  ForEach(stream, args.count, [=] __device__(std::size_t i) {
    Put(dx[i], kernels::Weighted(a.dy[i], a.slopes[i]), a.accumulate);
  });
}

template <class T, KlEstimator kEstimator>
void LossBy(Stream& stream, const KlLossArgs& args) {
  FusedLoss<2>(
      stream, args.loss,
      kernels::KlTerms<T, kEstimator>{As<T>(args.log_probs), args.reference, args.weights});
}

template <class T>
void LossOf(Stream& stream, const KlLossArgs& args) {
  switch (args.estimator) {
    case KlEstimator::kK1:
      return LossBy<T, KlEstimator::kK1>(stream, args);
    case KlEstimator::kK2:
      return LossBy<T, KlEstimator::kK2>(stream, args);
    case KlEstimator::kK3:
      return LossBy<T, KlEstimator::kK3>(stream, args);
  }
}

}  // namespace

void KlEstimates(Stream& stream, const KlEstimatesArgs& args) {
  MUSTER_BY_TYPE(args.type, EstimatesOf, stream, args);
}

void KlEstimatesBackward(Stream& stream, const KlEstimatesBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, EstimatesBackwardOf, stream, args);
}

void KlLoss(Stream& stream, const KlLossArgs& args) {
  MUSTER_BY_TYPE(args.loss.type, LossOf, stream, args);
}

}  // namespace muster::cuda
