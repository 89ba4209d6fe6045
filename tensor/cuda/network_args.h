// Arguments of the twins that networks are made of: products, convolutions, attention, group norm,
// pooling, and the optimisers. See pointwise_args.h for what they have in common.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/bfloat16.h"
#include "tensor/kernels/activation_math.h"
#include "tensor/kernels/convolution.h"
#include "tensor/kernels/pooling.h"

namespace muster::cuda {

// --- gemm.h, linear.h ---

// Element (i, j) is at data[i * row_stride + j * column_stride]; one stride is 1.
struct Matrix {
  const void* data = nullptr;
  std::size_t row_stride = 0;
  std::size_t column_stride = 1;
};

// c (+)= a b, summed in f32 and rounded once; with a bias (which needs !accumulate) c = a b + bias.
struct ProductArgs {
  std::size_t rows = 0, columns = 0, inner = 0;
  DType type = DType::kF32;    // Of a, b and bias.
  Matrix a;                    // [rows, inner]
  Matrix b;                    // [inner, columns]
  const void* bias = nullptr;  // [columns]; c then is of `type`.
  bool accumulate = false;
  DType c_type = DType::kF32;
  void* c = nullptr;  // [rows, columns]
  std::size_t c_row_stride = 0;
};

// batched_matmul.h: as many products as there are in the batch, in both directions. The `first` one
// with the elements from one matrix to the next.
struct BatchedProductArgs {
  ProductArgs first;  // Without bias.
  std::size_t batch = 0;
  std::size_t a_stride = 0, b_stride = 0, c_stride = 0;
};

struct LinearForwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, in = 0, out = 0;
  const void *x = nullptr, *weight = nullptr;  // [rows, in], [out, in]
  const void* bias = nullptr;                  // [out], or null.
  Activation activation = Activation::kNone;
  void* y = nullptr;
  void* before = nullptr;  // The activation's inputs, as y; null: not wanted.
};

struct LinearBackwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, in = 0, out = 0;
  const void *x = nullptr, *weight = nullptr;
  Activation activation = Activation::kNone;
  const void* saved = nullptr;  // `before` if SlopeNeedsInput, otherwise y.
  const void* dy = nullptr;
  void* dx = nullptr;  // Null: not wanted; the others, too.
  float *dweight = nullptr, *dbias = nullptr;
  bool accumulate_x = false, accumulate_weight = false, accumulate_bias = false;
};

// --- attention.h ---

struct AttentionSizes {                               // AttentionShape with its scale filled in.
  std::size_t heads = 1, kv_heads = 1, head_dim = 1;  // head_dim <= 256
  float scale = 1;
  std::size_t window = 0;
};

struct AttentionStatistics {
  float most, share;  // weight of key j = exp(score - most) * share
};

struct AttentionForwardArgs {
  DType type = DType::kF32;
  AttentionSizes sizes;
  std::size_t sequences = 0;
  std::size_t longest = 0;               // Tokens of the longest sequence.
  const std::int32_t* starts = nullptr;  // [sequences + 1]
  const void* qkv = nullptr;
  void* out = nullptr;
  AttentionStatistics* statistics = nullptr;  // [tokens, heads]; null in inference.
};

struct AttentionBackwardArgs {
  DType type = DType::kF32;
  AttentionSizes sizes;
  std::size_t sequences = 0, longest = 0;
  std::size_t tokens = 0;  // Of all sequences.
  const std::int32_t* starts = nullptr;
  const void *qkv = nullptr, *out = nullptr, *dout = nullptr;
  const AttentionStatistics* statistics = nullptr;
  void* dqkv = nullptr;
  bool accumulate = false;
};

// rotary.h: queries and keys turned, values as they are. Both directions.
struct RotaryArgs {
  DType type = DType::kF32;
  AttentionSizes sizes;
  std::size_t tokens = 0, dims = 0;
  bool neighbours = false;                  // RotaryPairing::kNeighbours.
  bool back = false;                        // The backward pass.
  const std::int32_t* positions = nullptr;  // [tokens]
  const float* turns = nullptr;             // Per position dims / 2 cosines, then as many sines.
  const void* x = nullptr;                  // [tokens, packed_width]
  void* y = nullptr;                        // Not x.
  bool accumulate = false;
};

// A page holds [kv_heads][keys, then values][kAttentionTile tokens][head_dim] of `type`.
struct AppendToPagesArgs {
  DType type = DType::kF32;
  AttentionSizes sizes;
  std::size_t count = 0;                // Of tokens: one row of qkv, one page, one slot each.
  const void* qkv = nullptr;            // [count, packed_width]
  void* const* pages = nullptr;         // [count]
  const std::int32_t* slots = nullptr;  // [count], each below kAttentionTile.
};

// One new token a sequence, which is in its last page already.
struct DecodeAttentionArgs {
  DType type = DType::kF32;
  AttentionSizes sizes;
  std::size_t sequences = 0;
  std::size_t pages_max = 0;             // Row length of `pages`.
  const void* qkv = nullptr;             // [sequences, packed_width]
  const void* const* pages = nullptr;    // [sequences, pages_max]
  const std::int32_t* tokens = nullptr;  // [sequences], the new one included; > 0.
  void* out = nullptr;                   // [sequences, width]
};

// --- group_norm.h (f32) ---

struct GroupNormForwardArgs {
  std::size_t samples = 0, positions = 0, groups = 0, width = 0;
  const float *x = nullptr, *gain = nullptr, *bias = nullptr;
  float epsilon = 0;
  float* y = nullptr;
  float* moments = nullptr;  // [samples, groups, 2]: mean, 1 / deviation.
};

struct GroupNormBackwardArgs {
  std::size_t samples = 0, positions = 0, groups = 0, width = 0;
  const float *x = nullptr, *gain = nullptr, *moments = nullptr, *dy = nullptr;
  float *dx = nullptr, *dgain = nullptr, *dbias = nullptr;  // Null: not wanted.
  bool accumulate_x = false, accumulate_gain = false, accumulate_bias = false;
};

// --- pool2d.h ---

struct MaxPoolForwardArgs {
  kernels::PoolShape shape;
  DType type = DType::kF32;
  const void* x = nullptr;
  void* y = nullptr;
  std::uint8_t* places = nullptr;  // As y.
};

struct MaxPoolBackwardArgs {
  kernels::PoolShape shape;
  DType type = DType::kF32;
  const std::uint8_t* places = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
  bool accumulate = false;
};

struct AvgPoolForwardArgs {
  kernels::PoolShape shape;
  DType type = DType::kF32;
  const void* x = nullptr;
  void* y = nullptr;
};

struct AvgPoolBackwardArgs {
  kernels::PoolShape shape;
  DType type = DType::kF32;
  const void* dy = nullptr;
  void* dx = nullptr;
  bool accumulate = false;
};

// --- conv2d.h: NHWC, weights [out, in, kernel_h, kernel_w], all of the shape's type. bf16 is
// widened, computed with in f32 and rounded once. ---

struct Conv2dForwardArgs {
  kernels::ConvolutionShape shape;  // `relu` is fused.
  std::size_t samples = 0;
  std::size_t max_pool = 1;
  const void *x = nullptr, *weight = nullptr;
  const void* bias = nullptr;  // Null: none.
  void* y = nullptr;
  std::uint8_t* places = nullptr;  // As y; null where max_pool is 1.
};

struct Conv2dBackwardArgs {
  kernels::ConvolutionShape shape;
  std::size_t samples = 0;
  std::size_t max_pool = 1;
  const void *x = nullptr, *weight = nullptr, *y = nullptr;
  const std::uint8_t* places = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;  // Null: not wanted; the others, too.
  float *dweight = nullptr, *dbias = nullptr;
  bool accumulate_x = false, accumulate_weight = false, accumulate_bias = false;
};

// --- nn/optim/optimizer.h, gradient_norm.h ---

// A run of the flat vector whose elements are treated alike, at most 65,536 of them.
struct OptimizerSegment {
  std::size_t begin = 0, end = 0;
  float decay = 0;
};

struct OptimizerVectors {
  const OptimizerSegment* segments = nullptr;
  std::size_t segments_count = 0;
  float* values = nullptr;
  const float* gradients = nullptr;
  BFloat16* narrow_values = nullptr;  // Null: the network computes in f32.
  float learning_rate = 0, gradient_scale = 1;
};

struct SgdStepArgs {
  OptimizerVectors vectors;
  float* momenta = nullptr;  // Null where momentum is 0.
  float momentum = 0;
  bool nesterov = false;
};

struct AdamStepArgs {
  OptimizerVectors vectors;
  float *first = nullptr, *second = nullptr;  // exp_avg, exp_avg_sq.
  float beta1 = 0, beta2 = 0, epsilon = 0;
  // w = w keep - step first / (sqrt(second) root + epsilon): the two corrections of bias in them.
  float step = 0, root = 1;
  bool decoupled_decay = false;  // AdamW.
};

struct RmsPropStepArgs {
  OptimizerVectors vectors;
  float* squares = nullptr;
  float* momenta = nullptr;  // Null where momentum is 0.
  float alpha = 0, epsilon = 0, momentum = 0;
};

struct GradientNormArgs {  // norm[0] = sqrt(sum g^2), blocks of 65,536 added in a fixed tree.
  std::size_t count = 0;
  const float* gradients = nullptr;
  double* norm = nullptr;
};

}  // namespace muster::cuda
