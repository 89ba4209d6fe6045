// bf16 sums in blocks of 32 as AMX makes them, without AMX: slower, with the same bits.
#include <immintrin.h>

#include <cstring>

#include "tensor/kernels/gemm_kernel.h"

namespace muster::kernels {

namespace {

constexpr std::size_t kColumns = 32;
constexpr std::size_t kVectors = kColumns / 8;
constexpr std::size_t kBlockWords = 16;

__m256 Even(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
__m256 Odd(__m256i pairs) {
  return _mm256_castsi256_ps(
      _mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xFFFF0000U))));
}

void Row(const MicroArgs& args) {
  float sums[kColumns] = {};
  if (args.from_c) std::memcpy(sums, args.c, args.columns * sizeof(float));
  for (std::size_t begin = 0; begin < args.inner; begin += kBlockWords) {
    __m256 even[kVectors], odd[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) even[v] = odd[v] = _mm256_setzero_ps();
    for (std::size_t k = begin; k < begin + kBlockWords; ++k) {
      int pair;
      std::memcpy(&pair, args.a + k * 4, sizeof(pair));
      const __m256i a = _mm256_set1_epi32(pair);
      const char* const b = static_cast<const char*>(args.b) + k * args.b_row_bytes;
      for (std::size_t v = 0; v < kVectors; ++v) {
        const __m256i column = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b) + v);
        even[v] = _mm256_fmadd_ps(Even(a), Even(column), even[v]);
        odd[v] = _mm256_fmadd_ps(Odd(a), Odd(column), odd[v]);
      }
    }
    for (std::size_t v = 0; v < kVectors; ++v) {
      const __m256 sum =
          _mm256_add_ps(_mm256_loadu_ps(sums + 8 * v), _mm256_add_ps(even[v], odd[v]));
      _mm256_storeu_ps(sums + 8 * v, sum);
    }
  }
  std::memcpy(args.c, sums, args.columns * sizeof(float));
}

constexpr MicroKernels Kernels() {
  MicroKernels kernels{.rows_max = 1, .panel_columns = kColumns, .pairs = true};
  kernels.words_step = kBlockWords;
  kernels.rows_apart[0] = Row;
  return kernels;
}

}  // namespace

constinit const MicroKernels kBlocksBf16 = Kernels();

}  // namespace muster::kernels
