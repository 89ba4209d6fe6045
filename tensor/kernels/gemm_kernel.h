// The innermost loops of Gemm, one file per instruction set. Not for use elsewhere.
//
// A micro-kernel makes up to `rows_max` x `panel_columns` sums in registers, each by one chain of
// fused multiply-adds in ascending order of the inner index: the bits of a sum depend neither on
// its neighbours nor on the width of the registers.
#pragma once

#include <array>
#include <cstddef>

namespace muster::kernels {

inline constexpr std::size_t kMicroRowsMax = 12;

// An element is 4 bytes: an f32, or two neighbours along the inner dimension in bf16.
struct MicroArgs {
  const char* a = nullptr;  // Element (row, k) at a + row * a_row_bytes + k * a_inner_bytes.
  std::size_t a_row_bytes = 0;
  std::size_t a_inner_bytes = 0;  // 4, or a_row_bytes is.
  const void* b = nullptr;        // [inner][panel_columns], rows b_row_bytes apart.
  std::size_t b_row_bytes = 0;
  float* c = nullptr;  // [rows][columns] with rows c_row_stride floats apart.
  std::size_t c_row_stride = 0;
  std::size_t inner = 0;
  std::size_t columns = 0;  // 1 to panel_columns.
  bool from_c = false;      // The chains begin with what is in c; otherwise with 0.
};
using MicroKernel = void (*)(const MicroArgs& args);

struct MicroKernels {
  std::size_t rows_max = 0;
  std::size_t panel_columns = 0;
  // By rows - 1; of rows whose inner dimension is contiguous, and of those that are contiguous.
  std::array<MicroKernel, kMicroRowsMax> rows_apart{};
  std::array<MicroKernel, kMicroRowsMax> rows_together{};
};

extern const MicroKernels kAvx2F32;
extern const MicroKernels kAvx512F32;
extern const MicroKernels kAvx512Bf16;  // Pairs: the odd member of each is added first.

}  // namespace muster::kernels
