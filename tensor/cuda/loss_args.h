// Arguments of the twins of losses. Targets and weights are checked by the caller.
//
// Of a fused loss there is one element in loss (f32, scale * sums[0]), the sums in double in the
// order of the CPU's score, and the slopes, which LossBackward turns into gradients.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/bfloat16.h"
#include "tensor/kernels/kl_terms.h"

namespace muster::cuda {

// --- softmax_cross_entropy.h (f32) ---

struct SoftmaxCrossEntropyArgs {
  std::size_t rows = 0, classes = 0;
  const float* logits = nullptr;
  const std::int32_t* targets = nullptr;
  float scale = 1;
  float* probabilities = nullptr;  // [rows, classes], for the backward pass; null: not wanted.
  float* loss = nullptr;           // scale * loss_sum; null: not wanted.
  double* loss_sum = nullptr;
  double* correct = nullptr;  // A count.
};

struct SoftmaxCrossEntropyBackwardArgs {
  std::size_t rows = 0, classes = 0;
  const float* probabilities = nullptr;
  const std::int32_t* targets = nullptr;
  float scale = 1;
  const float* dy = nullptr;
  float* dx = nullptr;
  bool accumulate = false;
};

// --- linear_cross_entropy.h ---

struct LinearCrossEntropyArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0, vocabulary = 0;
  const void *x = nullptr, *weight = nullptr;
  const std::int32_t* targets = nullptr;
  const float* weights = nullptr;  // [rows], times the scale; 0 where there is no target.
  float* loss = nullptr;
  float *log_probs = nullptr, *entropies = nullptr, *log_sums = nullptr;  // [rows]
};

struct LinearCrossEntropyBackwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0, vocabulary = 0;
  const void *x = nullptr, *weight = nullptr;
  const std::int32_t* targets = nullptr;
  const float *weights = nullptr, *log_sums = nullptr;
  const float* dy = nullptr;
  void* dx = nullptr;        // Null: not wanted.
  float* dweight = nullptr;  // Null: not wanted.
  bool accumulate_x = false, accumulate_weight = false;
};

// --- What every fused loss has. ---

struct FusedLossArgs {
  DType type = DType::kF32;  // Of the tensors that it is differentiated by.
  std::size_t count = 0;
  float scale = 1;
  float* loss = nullptr;
  double* sums = nullptr;
  float* slopes = nullptr;  // [count]; null in inference.
};

struct LossBackwardArgs {  // dx[i] (+)= dy[0] * factor * slopes[i]; factor is the loss's scale.
  DType type = DType::kF32;
  std::size_t count = 0;
  const float* slopes = nullptr;
  const float* dy = nullptr;
  float factor = 1;  // For rejected answers its negative.
  void* dx = nullptr;
  bool accumulate = false;
};

// --- ppo_loss.h; weights have one element each, never none. ---

struct ClippedSurrogateArgs {  // Six sums.
  FusedLossArgs loss;
  const void* log_probs = nullptr;
  const float *old_log_probs = nullptr, *advantages = nullptr, *weights = nullptr;
  float clip_low = 0, clip_high = 0;
};

struct ValueLossArgs {  // Two sums.
  FusedLossArgs loss;
  const void* values = nullptr;
  const float *targets = nullptr, *weights = nullptr;
};

struct ClippedValueLossArgs {  // Three sums.
  FusedLossArgs loss;
  const void* values = nullptr;
  const float *old_values = nullptr, *targets = nullptr, *weights = nullptr;
  float clip = 0;
};

// --- preference_loss.h: four sums; the slopes are those of the chosen answers. ---

struct BradleyTerryLossArgs {
  FusedLossArgs loss;
  const void *chosen = nullptr, *rejected = nullptr;
  const float* margins = nullptr;
};

struct DpoLossArgs {
  FusedLossArgs loss;
  const void *chosen = nullptr, *rejected = nullptr;
  const float *chosen_reference = nullptr, *rejected_reference = nullptr;
  float beta = 0, label_smoothing = 0;
};

struct IpoLossArgs {
  FusedLossArgs loss;
  const void *chosen = nullptr, *rejected = nullptr;
  const float *chosen_reference = nullptr, *rejected_reference = nullptr;
  float beta = 0;
};

// --- kl_divergence.h ---

struct KlEstimatesArgs {
  DType type = DType::kF32;
  std::size_t count = 0;
  ops::KlEstimator estimator = ops::KlEstimator::kK1;
  const void* log_probs = nullptr;
  const float* reference = nullptr;
  float* estimates = nullptr;
  float* slopes = nullptr;  // Null in inference.
};

struct KlEstimatesBackwardArgs {  // dx[i] (+)= dy[i] * slopes[i], 0 where dy[i] is.
  DType type = DType::kF32;
  std::size_t count = 0;
  const float *slopes = nullptr, *dy = nullptr;
  void* dx = nullptr;
  bool accumulate = false;
};

struct KlLossArgs {  // Two sums.
  FusedLossArgs loss;
  ops::KlEstimator estimator = ops::KlEstimator::kK1;
  const void* log_probs = nullptr;
  const float *reference = nullptr, *weights = nullptr;
};

}  // namespace muster::cuda
