// How Gemm's operands become the words that its micro-kernels read. Not for use elsewhere.
#pragma once

#include <cstddef>

#include "tensor/bfloat16.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/gemm_kernel.h"

namespace muster::kernels {

// The inner dimension is taken in blocks of at most this many words: a panel of b,
// [kInnerBlock][32] x 4 bytes, and the 12 rows of a beside it stay in the first-level cache's
// reach.
inline constexpr std::size_t kInnerBlock = 512;

// How many blocks cover `count`.
inline std::size_t Blocks(std::size_t count, std::size_t block) {
  return (count + block - 1) / block;
}

// Columns of whole panels. A packed operand is blocks of the inner dimension, in each all panels
// side by side.
inline std::size_t PaddedColumns(std::size_t columns, std::size_t width) {
  return Blocks(columns, width) * width;
}

// The micro-kernels that multiply this type as base/cpu.h says.
const MicroKernels& KernelsFor(DType type);

// One operand as the micro-kernels want it: words of 4 bytes, in an order of the inner dimension
// that a loop over f32 or over bf16 pairs can follow.
//
// It is a bf16 or f32 matrix seen as [outer, inner]: outer = rows of a, or columns of b.
struct Source {
  const char* data;
  std::size_t outer_bytes, inner_bytes;  // Steps; one is an element's size.
  std::size_t outer, inner;
  bool bf16;
  const MicroKernels* kernels;

  // Words are bf16 pairs; otherwise f32, which bf16 is turned into, odd before even.
  bool pairs() const { return bf16 && kernels->pairs; }
  bool inner_together() const { return inner_bytes == (bf16 ? 2U : 4U); }

  float Value(std::size_t o, std::size_t k) const;
  // Word k of outer o.
  float Word(std::size_t o, std::size_t k) const;
};

// Of [inner, columns] by its columns.
Source SourceOf(const Operand& b, std::size_t inner, std::size_t columns, DType type,
                const MicroKernels& kernels);

// How many words an inner dimension has, with those that only fill it up.
std::size_t Words(std::size_t inner, DType type, const MicroKernels& kernels);

// to[k][o] = word (begin + k) of outer first + o, for `width` outers, those beyond the last 0.
void PackTogether(const Source& source, std::size_t first, std::size_t width, std::size_t begin,
                  std::size_t words, float* to);

// Panels of `outers` outers from `first` on, side by side: each as PackTogether makes it, so wide
// as the kernels' panels.
void PackPanels(const Source& source, std::size_t first, std::size_t outers, std::size_t begin,
                std::size_t words, float* to);

// to[o * to_row + k]: the words of `outers` outers, each contiguous.
void PackApart(const Source& source, std::size_t first, std::size_t outers, std::size_t begin,
               std::size_t words, float* to, std::size_t to_row);

}  // namespace muster::kernels
