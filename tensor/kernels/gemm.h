// Matrix product c = activation(a b + bias), f32 or bf16 with f32 sums.
//
// Bits: every sum is one chain of fused multiply-adds in ascending order of the inner index. In
// bf16 there are two orders, of which base/cpu.h tells which is in use:
//   chain   by pairs with the odd member first (what VDPBF16PS does);
//   blocks  of 32: the even members are added in one chain from 0, the odd ones in another, then
//           both to each other and that to the sum (what AMX's TDPBF16PS does).
// A missing last member is 0. So an element of c depends on its row of a, its column of b and
// nothing else: not on the other rows, the parts that threads take, or the instructions.
#pragma once

#include <cstddef>

#include "tensor/bfloat16.h"
#include "tensor/kernels/activation.h"
#include "tensor/thread_pool.h"

namespace muster::kernels {

// Element (i, j) is at data[i * row_stride + j * column_stride]; one stride is 1.
struct Operand {
  const void* data = nullptr;
  std::size_t row_stride = 0;
  std::size_t column_stride = 1;
};

struct GemmArgs {
  std::size_t rows = 0;  // Any of the three may be 0: sums over nothing are 0.
  std::size_t columns = 0;
  std::size_t inner = 0;
  DType type = DType::kF32;    // Of a, b and bias.
  Operand a;                   // [rows, inner]
  Operand b;                   // [inner, columns]
  const void* bias = nullptr;  // [columns], added to the sums; null = none.
  Activation activation = Activation::kNone;
  // c += a b, without bias or activation: in f32 the chains begin with c; to bf16 they are added.
  bool accumulate = false;
  DType c_type = DType::kF32;
  void* c = nullptr;  // [rows, columns]
  std::size_t c_row_stride = 0;
  // With an activation: where its inputs go, laid out as c; null = nowhere.
  void* before_activation = nullptr;
};

// The operand b of several products, turned into the kernels' own layout once.
struct PackedOperand {
  const float* data = nullptr;
  std::size_t inner = 0, columns = 0;
  DType type = DType::kF32;
};
// How many floats Pack writes.
std::size_t PackedFloats(std::size_t inner, std::size_t columns, DType type);
// Writes b [inner, columns] to `to`, which is 64-byte aligned. Not for another processor, nor after
// LimitCpuLevel.
PackedOperand Pack(const Operand& b, std::size_t inner, std::size_t columns, DType type, float* to);

// `count` columns of it from `first` on, a multiple of 32, where `inner` is at most 512 (1,024 in
// bf16): still in place.
PackedOperand PackedColumns(const PackedOperand& b, std::size_t first, std::size_t count);

// Put row k, `columns` values, or one column, `inner` values, into a packed operand that is zero
// where nothing has been put.
void StorePackedRow(float* data, std::size_t inner, std::size_t columns, DType type, std::size_t k,
                    const void* values);
void StorePackedColumn(float* data, std::size_t inner, std::size_t columns, DType type,
                       std::size_t column, const void* values);

// Gemm with a b that is packed (args.b is not looked at).
void GemmPacked(const GemmArgs& args, const PackedOperand& b, ThreadPool* pool = nullptr);

// The pool shares blocks of rows and columns; null = the calling thread alone. No memory of c may
// be that of a or b.
void Gemm(const GemmArgs& args, ThreadPool* pool);

}  // namespace muster::kernels
