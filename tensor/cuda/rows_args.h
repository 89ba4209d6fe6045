// Arguments of the twins that work on rows: norms, softmax, gathers, reductions, sampling.
//
// Matrices are [rows, width], row-major and contiguous; see pointwise_args.h for the rest.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/bfloat16.h"

namespace muster {

struct SamplingRow;
struct SampledToken;

namespace cuda {

// --- row_norm.h ---

struct NormMoments {
  float mean, scale;  // y = (x - mean) * scale, before gain and bias; mean 0 in an RMS norm.
};

struct RowNormForwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void* x = nullptr;
  const void* residual = nullptr;  // Null: the norm of x; else that of sum = x + residual.
  void* sum = nullptr;
  const void* gain = nullptr;
  const void* bias = nullptr;  // Null: an RMS norm.
  float epsilon = 0;
  void* y = nullptr;
  NormMoments* moments = nullptr;  // [rows], for the backward pass; null in inference.
};

struct RowNormBackwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void* x = nullptr;  // What was normalised: the sum if there was a residual.
  const void* gain = nullptr;
  bool centred = false;  // A layer norm.
  const NormMoments* moments = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;  // Null: not wanted; the others, too.
  float *dgain = nullptr, *dbias = nullptr;
  bool accumulate_x = false, accumulate_gain = false, accumulate_bias = false;
};

// row_sum.h: sums[c] (+)= the sum of x[.., c]; the gradient of a bias.
struct SumRowsArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, columns = 0;
  const void* x = nullptr;
  float* sums = nullptr;
  bool accumulate = false;
};

// --- softmax.h ---

struct RowScale {
  float largest, sum;  // p = e^(x - largest) / sum
};

struct SoftmaxForwardArgs {
  bool log = false;
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void* x = nullptr;
  void* y = nullptr;
  RowScale* scales = nullptr;  // [rows]
};

struct SoftmaxBackwardArgs {
  bool log = false;
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void* x = nullptr;
  const RowScale* scales = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
  bool accumulate = false;
};

// --- embedding.h, gather.h ---

struct CopyRowsArgs {  // to[i] (+)= from[indices[i]]
  DType type = DType::kF32;
  std::size_t count = 0, width = 0;
  const std::int32_t* indices = nullptr;  // [count]
  const void* from = nullptr;
  void* to = nullptr;
  bool accumulate = false;
};

// to[r] (+)= the sum of from[p] over the positions p that are positions[begins[r]] up to
// positions[begins[r + 1]], in this order. Without `accumulate` all rows are written. The caller
// sorts the indices (add_rows.h: SortByRow), which it has on the host anyway.
struct AddRowsArgs {
  DType from_type = DType::kF32, to_type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const std::uint32_t *begins = nullptr, *positions = nullptr;  // [rows + 1], [indices]
  const void* from = nullptr;
  void* to = nullptr;
  bool accumulate = false;
};

// --- reduce.h ---

struct SumLastArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void* x = nullptr;
  void* y = nullptr;
  double divisor = 1;  // The width for a mean.
};

struct SumLastBackwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void* dy = nullptr;
  float factor = 1;  // 1 / divisor
  void* dx = nullptr;
  bool accumulate = false;
};

struct MaxLastArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void* x = nullptr;
  void* y = nullptr;
  std::int32_t* indices = nullptr;
};

struct MaxLastBackwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void* dy = nullptr;
  const std::int32_t* indices = nullptr;
  void* dx = nullptr;
  bool accumulate = false;
};

struct TopKArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0, k = 0;
  const void* x = nullptr;
  void* y = nullptr;                // [rows, k]
  std::int32_t* indices = nullptr;  // [rows, k]
};

// sampling.h. Options are checked by the caller; a row without a largest finite logit gives token
// -1 and NaN.
struct SampleArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, vocabulary = 0;
  const void* logits = nullptr;
  const SamplingRow* options = nullptr;  // [rows]
  SampledToken* tokens = nullptr;        // [rows]
};

}  // namespace cuda
}  // namespace muster
