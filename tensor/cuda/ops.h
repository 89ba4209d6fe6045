// The list of all ops that have a CUDA twin, and where their arguments are declared.
#pragma once

#include "tensor/cuda/loss_args.h"
#include "tensor/cuda/network_args.h"
#include "tensor/cuda/pointwise_args.h"
#include "tensor/cuda/policy_args.h"
#include "tensor/cuda/rows_args.h"

// OP(function, its arguments): a member of the table, and in the library a function
// `void function(Stream&, const Arguments&)` in a .cu beside the op's .cpp.
#define MUSTER_CUDA_OPS(OP)                                        \
  OP(Add, AddArgs)                                                 \
  OP(Multiply, MultiplyArgs)                                       \
  OP(Scale, ScaleArgs)                                             \
  OP(Cast, CastArgs)                                               \
  OP(Sum, SumArgs)                                                 \
  OP(SumBackward, SumBackwardArgs)                                 \
  OP(ActivationForward, ActivationForwardArgs)                     \
  OP(ActivationBackward, ActivationBackwardArgs)                   \
  OP(SwiGluForward, SwiGluForwardArgs)                             \
  OP(SwiGluBackward, SwiGluBackwardArgs)                           \
  OP(Dropout, DropoutArgs)                                         \
  OP(CopyRuns, CopyRunsArgs)                                       \
  OP(GruGatesForward, GruGatesForwardArgs)                         \
  OP(GruGatesBackward, GruGatesBackwardArgs)                       \
  OP(LstmGatesForward, LstmGatesForwardArgs)                       \
  OP(LstmHiddenBackward, LstmHiddenBackwardArgs)                   \
  OP(LstmCellBackward, LstmCellBackwardArgs)                       \
  OP(ResetRows, ResetRowsArgs)                                     \
  OP(RowNormForward, RowNormForwardArgs)                           \
  OP(RowNormBackward, RowNormBackwardArgs)                         \
  OP(SumRows, SumRowsArgs)                                         \
  OP(SoftmaxForward, SoftmaxForwardArgs)                           \
  OP(SoftmaxBackward, SoftmaxBackwardArgs)                         \
  OP(CopyRows, CopyRowsArgs)                                       \
  OP(AddRows, AddRowsArgs)                                         \
  OP(SumLast, SumLastArgs)                                         \
  OP(SumLastBackward, SumLastBackwardArgs)                         \
  OP(MaxLast, MaxLastArgs)                                         \
  OP(MaxLastBackward, MaxLastBackwardArgs)                         \
  OP(TopK, TopKArgs)                                               \
  OP(Sample, SampleArgs)                                           \
  OP(GroupNormForward, GroupNormForwardArgs)                       \
  OP(GroupNormBackward, GroupNormBackwardArgs)                     \
  OP(MaxPoolForward, MaxPoolForwardArgs)                           \
  OP(MaxPoolBackward, MaxPoolBackwardArgs)                         \
  OP(AvgPoolForward, AvgPoolForwardArgs)                           \
  OP(AvgPoolBackward, AvgPoolBackwardArgs)                         \
  OP(Conv2dForward, Conv2dForwardArgs)                             \
  OP(Conv2dBackward, Conv2dBackwardArgs)                           \
  OP(Product, ProductArgs)                                         \
  OP(BatchedProduct, BatchedProductArgs)                           \
  OP(Rotary, RotaryArgs)                                           \
  OP(LinearForward, LinearForwardArgs)                             \
  OP(LinearBackward, LinearBackwardArgs)                           \
  OP(AttentionForward, AttentionForwardArgs)                       \
  OP(AttentionBackward, AttentionBackwardArgs)                     \
  OP(AppendToPages, AppendToPagesArgs)                             \
  OP(DecodeAttention, DecodeAttentionArgs)                         \
  OP(SoftmaxCrossEntropy, SoftmaxCrossEntropyArgs)                 \
  OP(SoftmaxCrossEntropyBackward, SoftmaxCrossEntropyBackwardArgs) \
  OP(LinearCrossEntropy, LinearCrossEntropyArgs)                   \
  OP(LinearCrossEntropyBackward, LinearCrossEntropyBackwardArgs)   \
  OP(ClippedSurrogate, ClippedSurrogateArgs)                       \
  OP(ValueLoss, ValueLossArgs)                                     \
  OP(ClippedValueLoss, ClippedValueLossArgs)                       \
  OP(BradleyTerryLoss, BradleyTerryLossArgs)                       \
  OP(DpoLoss, DpoLossArgs)                                         \
  OP(IpoLoss, IpoLossArgs)                                         \
  OP(KlEstimates, KlEstimatesArgs)                                 \
  OP(KlEstimatesBackward, KlEstimatesBackwardArgs)                 \
  OP(KlLoss, KlLossArgs)                                           \
  OP(LossBackward, LossBackwardArgs)                               \
  OP(CategoricalForward, CategoricalForwardArgs)                   \
  OP(CategoricalBackward, CategoricalBackwardArgs)                 \
  OP(SampleCategorical, SampleCategoricalArgs)                     \
  OP(CategoricalMode, CategoricalModeArgs)                         \
  OP(GaussianForward, GaussianForwardArgs)                         \
  OP(GaussianBackward, GaussianBackwardArgs)                       \
  OP(SampleGaussian, SampleGaussianArgs)                           \
  OP(SgdStep, SgdStepArgs)                                         \
  OP(AdamStep, AdamStepArgs)                                       \
  OP(RmsPropStep, RmsPropStepArgs)                                 \
  OP(GradientNorm, GradientNormArgs)
