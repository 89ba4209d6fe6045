// Arguments of the twins of probability distributions: categorical.h and gaussian.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/random_key.h"
#include "tensor/bfloat16.h"

namespace muster::cuda {

struct CategoricalMoments {
  float largest, log_sum, entropy;
};

// The categoricals of a row: number s is columns begins[s] to begins[s + 1], from 0 to the width.
struct CategoricalSizes {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0, segments = 0;
  const std::int32_t* begins = nullptr;  // [segments + 1]
};

struct CategoricalForwardArgs {
  CategoricalSizes sizes;
  const void* logits = nullptr;
  const std::int32_t* actions = nullptr;           // [rows, segments], each in range.
  float *log_probs = nullptr, *entropy = nullptr;  // [rows]
  CategoricalMoments* moments = nullptr;           // [rows, segments]; null in inference.
};

struct CategoricalBackwardArgs {
  CategoricalSizes sizes;
  const void* logits = nullptr;
  const std::int32_t* actions = nullptr;
  const CategoricalMoments* moments = nullptr;
  const float *dlog_probs = nullptr, *dentropy = nullptr;  // Null: zeros.
  void* dlogits = nullptr;
  bool accumulate = false;
};

struct SampleCategoricalArgs {
  CategoricalSizes sizes;
  const void* logits = nullptr;
  const RandomKey* keys = nullptr;  // [rows]
  std::int32_t* actions = nullptr;
  float* log_probs = nullptr;  // Null: not wanted.
};

struct CategoricalModeArgs {
  CategoricalSizes sizes;
  const void* logits = nullptr;
  std::int32_t* actions = nullptr;
};

// mean [rows, width]; log_std [rows, width], or [width] if it is shared.
struct GaussianSizes {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  bool shared = false;
};

struct GaussianForwardArgs {
  GaussianSizes sizes;
  const void *mean = nullptr, *log_std = nullptr;
  const float* actions = nullptr;
  float *log_probs = nullptr, *entropy = nullptr;
};

struct GaussianBackwardArgs {
  GaussianSizes sizes;
  const void *mean = nullptr, *log_std = nullptr;
  const float* actions = nullptr;
  const float *dlog_probs = nullptr, *dentropy = nullptr;  // Null: zeros.
  void *dmean = nullptr, *dlog_std = nullptr;  // Null: not wanted; a shared log_std's is f32.
  bool accumulate_mean = false, accumulate_log_std = false;
};

struct SampleGaussianArgs {
  GaussianSizes sizes;
  const void *mean = nullptr, *log_std = nullptr;
  const RandomKey* keys = nullptr;  // [rows]
  float* actions = nullptr;
  float* log_probs = nullptr;  // Null: not wanted.
};

}  // namespace muster::cuda
