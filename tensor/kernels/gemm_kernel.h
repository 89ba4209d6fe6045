// The innermost loops of Gemm, one file per instruction set. Not for use elsewhere.
//
// A micro-kernel makes up to `rows_max` x `panel_columns` sums in registers, each in the order that
// gemm.h tells: the bits of a sum depend neither on its neighbours nor on the width of the
// registers.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

namespace muster::kernels {

inline constexpr std::size_t kMicroRowsMax = 32;

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
  bool from_c = false;      // The sums begin with what is in c; otherwise with 0.
  // Rows that will be wanted next, a_row_bytes apart: tiles fetch them into the second-level cache.
  const char* next = nullptr;
  std::size_t next_rows = 0;
};
using MicroKernel = void (*)(const MicroArgs& args);

struct MicroKernels {
  std::size_t rows_max = 0;
  std::size_t panel_columns = 0;
  // By rows - 1; of rows whose inner dimension is contiguous, and of those that are contiguous.
  std::array<MicroKernel, kMicroRowsMax> rows_apart{};
  std::array<MicroKernel, kMicroRowsMax> rows_together{};
  bool pairs = false;          // Words are pairs of bf16, not f32.
  std::size_t words_step = 1;  // The inner dimension is filled up with 0 to a multiple of it; from
                               // 2 on, rows are always apart.
  // 16 x 16 words: to[c][r] = from[r][c]; rows of `to` are to_row floats apart. Null = none.
  void (*turn_words)(const char* from, std::size_t from_row_bytes, float* to,
                     std::size_t to_row) = nullptr;
  // 32 rows of 32 bf16: to[c] = the 16 pairs of column c. Null = none.
  void (*turn_pairs)(const char* from, std::size_t from_row_bytes, float* to,
                     std::size_t to_row) = nullptr;
  // Called by a thread after its last micro-kernel, before any other code that may use registers
  // of the same kind. Null = nothing to do.
  void (*end)() = nullptr;
};

extern const MicroKernels kAvx2F32;
extern const MicroKernels kAvx512F32;
extern const MicroKernels kAvx512Bf16;  // Pairs: the odd member of each is added first.
extern const MicroKernels kBlocksBf16;  // Pairs in blocks of 32 values.
extern const MicroKernels kAmxBf16;     // The same.

void TurnWords512(const char* from, std::size_t from_row_bytes, float* to, std::size_t to_row);
void TurnPairs512(const char* from, std::size_t from_row_bytes, float* to, std::size_t to_row);

}  // namespace muster::kernels
