// Arguments of the twins whose elements are each computed alone.
//
// `type` is that of all void pointers; what is `accumulate`d is added to what is there, in f32,
// and rounded once. Formulas, shapes and refusals are those of the CPU op's header, which is named.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/random_key.h"
#include "tensor/bfloat16.h"
#include "tensor/kernels/activation_math.h"

namespace muster::cuda {

// --- elementwise.h: a node's gradients are Scale, Multiply and Cast with `accumulate`. ---

struct AddArgs {  // y = a + b
  DType type = DType::kF32;
  std::size_t count = 0;
  const void *a = nullptr, *b = nullptr;
  void* y = nullptr;
};

struct MultiplyArgs {  // y (+)= a * b
  DType type = DType::kF32;
  std::size_t count = 0;
  const void *a = nullptr, *b = nullptr;
  void* y = nullptr;
  bool accumulate = false;
};

struct ScaleArgs {  // y (+)= x * factor
  DType type = DType::kF32;
  std::size_t count = 0;
  const void* x = nullptr;
  float factor = 1;
  void* y = nullptr;
  bool accumulate = false;
};

struct CastArgs {  // y (+)= x
  DType x_type = DType::kF32, y_type = DType::kF32;
  std::size_t count = 0;
  const void* x = nullptr;
  void* y = nullptr;
  bool accumulate = false;
};

struct SumArgs {  // y = the sum of x, times factor; added in double.
  DType type = DType::kF32;
  std::size_t count = 0;
  const void* x = nullptr;
  float factor = 1;
  float* y = nullptr;  // One element.
};

struct SumBackwardArgs {  // dx[i] (+)= dy[0] * factor
  DType type = DType::kF32;
  std::size_t count = 0;
  const float* dy = nullptr;
  float factor = 1;
  void* dx = nullptr;
  bool accumulate = false;
};

// --- activation.h, swiglu.h, dropout.h ---

struct ActivationForwardArgs {
  Activation activation = Activation::kNone;
  DType type = DType::kF32;
  std::size_t count = 0;
  const void* x = nullptr;
  void* y = nullptr;  // May be x.
};

struct ActivationBackwardArgs {
  Activation activation = Activation::kNone;
  DType type = DType::kF32;
  std::size_t count = 0;
  const void* saved = nullptr;  // x if SlopeNeedsInput, otherwise y.
  const void* dy = nullptr;
  void* dx = nullptr;  // May be dy.
  bool accumulate = false;
};

struct SwiGluForwardArgs {
  DType type = DType::kF32;
  std::size_t count = 0;
  const void *gate = nullptr, *up = nullptr;
  void* y = nullptr;
};

struct SwiGluBackwardArgs {
  DType type = DType::kF32;
  std::size_t count = 0;
  const void *gate = nullptr, *up = nullptr, *dy = nullptr;
  void *dgate = nullptr, *dup = nullptr;  // Null: not wanted.
  bool accumulate_gate = false, accumulate_up = false;
};

struct DropoutArgs {  // Both directions: y (+)= x * scale where the word is not below `least`.
  DType type = DType::kF32;
  std::size_t count = 0;
  const void* x = nullptr;
  RandomKey key;
  std::uint32_t least = 0;
  float scale = 1;
  void* y = nullptr;
  bool accumulate = false;
};

// --- concatenate.h ---

// Concatenate and Slice, both directions: `runs` pieces of `length` elements, whose beginnings are
// `from_stride` and `to_stride` elements apart.
struct CopyRunsArgs {
  DType type = DType::kF32;
  std::size_t runs = 0, length = 0, from_stride = 0, to_stride = 0;
  const void* from = nullptr;
  void* to = nullptr;
  bool accumulate = false;
};

// --- recurrent.h: rows of gates * width products, states [rows, width]; null: not wanted. ---

struct GruGatesForwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void *input = nullptr, *product = nullptr, *hidden = nullptr;
  void* y = nullptr;
};

struct GruGatesBackwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void *input = nullptr, *product = nullptr, *hidden = nullptr, *dy = nullptr;
  void *dinput = nullptr, *dproduct = nullptr, *dhidden = nullptr;
  bool accumulate_input = false, accumulate_product = false, accumulate_hidden = false;
};

struct LstmGatesForwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void *input = nullptr, *product = nullptr, *old_cell = nullptr;
  void *hidden = nullptr, *cell = nullptr;
};

// What the new hidden state passes on to the new cell.
struct LstmHiddenBackwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void *input = nullptr, *product = nullptr, *cell = nullptr, *dhidden = nullptr;
  void* dcell = nullptr;
  bool accumulate = false;
};

struct LstmCellBackwardArgs {
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void *input = nullptr, *product = nullptr, *old_cell = nullptr, *cell = nullptr;
  const void* dcell = nullptr;
  const void* dhidden = nullptr;  // Null: nothing depends on the new hidden state.
  void *dinput = nullptr, *dproduct = nullptr, *dold_cell = nullptr;
  bool accumulate_input = false, accumulate_product = false, accumulate_old_cell = false;
};

struct ResetRowsArgs {  // Both directions: y[r] (+)= x[r] where done[r] is 0, else zeros.
  DType type = DType::kF32;
  std::size_t rows = 0, width = 0;
  const void* x = nullptr;
  const std::uint8_t* done = nullptr;
  void* y = nullptr;
  bool accumulate = false;
};

}  // namespace muster::cuda
