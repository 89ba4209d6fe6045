// Words and pairs turned over with 512-bit registers.
#include <immintrin.h>

#include <cstdint>

#include "tensor/kernels/gemm_kernel.h"

namespace muster::kernels {

namespace {

// rows[c] = what was column c, as words of 4 bytes.
void Turn16x16(__m512i (&r)[16]) {
  __m512i s[16];
  for (std::size_t i = 0; i < 16; i += 2) {
    s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (std::size_t i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
  }
  // r[4 g + j] holds columns j, 4 + j, 8 + j, 12 + j of rows 4 g to 4 g + 3, four words each.
  for (std::size_t j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);       // Columns j, 8 + j.
    const __m512i b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xDD);       // 4 + j, 12 + j.
    const __m512i c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);  // The lower rows' same.
    const __m512i d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xDD);
    s[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    s[8 + j] = _mm512_shuffle_i32x4(a, c, 0xDD);
    s[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    s[12 + j] = _mm512_shuffle_i32x4(b, d, 0xDD);
  }
  for (std::size_t i = 0; i < 16; ++i) r[i] = s[i];
}

}  // namespace

void TurnWords512(const char* from, std::size_t from_row_bytes, float* to, std::size_t to_row) {
  __m512i r[16];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(from + i * from_row_bytes);
  Turn16x16(r);
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 16; ++i) _mm512_storeu_si512(to + i * to_row, r[i]);
}

void TurnPairs512(const char* from, std::size_t from_row_bytes, float* to, std::size_t to_row) {
  // Interleaving works within each 128 bits: 8 columns give words of 4 to `low`, of 4 to `high`.
  __m512i low[16], high[16];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 16; ++i) {
    const __m512i even = _mm512_loadu_si512(from + 2 * i * from_row_bytes);
    const __m512i odd = _mm512_loadu_si512(from + (2 * i + 1) * from_row_bytes);
    // What the next call is likely to want.
    _mm_prefetch(from + (2 * i + 32) * from_row_bytes, _MM_HINT_T0);
    _mm_prefetch(from + (2 * i + 33) * from_row_bytes, _MM_HINT_T0);
    low[i] = _mm512_unpacklo_epi16(even, odd);
    high[i] = _mm512_unpackhi_epi16(even, odd);
  }
  Turn16x16(low);
  Turn16x16(high);
  for (std::size_t i = 0; i < 16; ++i) {
    const std::size_t column = i / 4 * 8 + i % 4;
    _mm512_storeu_si512(to + column * to_row, low[i]);
    _mm512_storeu_si512(to + (column + 4) * to_row, high[i]);
  }
}

}  // namespace muster::kernels
