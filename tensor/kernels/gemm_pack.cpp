#include "tensor/kernels/gemm_pack.h"

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/cpu.h"

namespace muster::kernels {

namespace {

// to[c][r] = from[r][c] for 8 x 8 words of 4 bytes.
void Turn8x8(const char* from, std::size_t from_row_bytes, float* to, std::size_t to_row) {
  __m256 r[8], s[8];
  for (std::size_t i = 0; i < 8; ++i) {
    r[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(from + i * from_row_bytes));
  }
  for (std::size_t i = 0; i < 8; i += 2) {
    s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (std::size_t i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(s[i], s[i + 2], _MM_SHUFFLE(1, 0, 1, 0));
    r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], _MM_SHUFFLE(3, 2, 3, 2));
    r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], _MM_SHUFFLE(1, 0, 1, 0));
    r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], _MM_SHUFFLE(3, 2, 3, 2));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * to_row, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * to_row, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

// Pairs of two rows of 16 bf16: 16 words.
void Interleave16(const char* even, const char* odd, float* to) {
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(even));
  const __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd));
  const __m256i low = _mm256_unpacklo_epi16(x, y), high = _mm256_unpackhi_epi16(x, y);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8),
                      _mm256_permute2x128_si256(low, high, 0x31));
}

// 8 bf16 as f32.
__m256 Widen8(const char* from) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

std::size_t RoundUp(std::size_t count, std::size_t step) {
  return (count + step - 1) / step * step;
}

}  // namespace

const MicroKernels& KernelsFor(DType type) {
  const CpuLevel level = BestCpuLevel();
  if (type == DType::kBF16 && SumsOfBf16() == Bf16Sums::kBlocks) {
    return level >= CpuLevel::kAmx ? kAmxBf16 : kBlocksBf16;
  }
  if (type == DType::kBF16 && level >= CpuLevel::kAvx512Bf16) return kAvx512Bf16;
  return level >= CpuLevel::kAvx512 ? kAvx512F32 : kAvx2F32;
}

float Source::Value(std::size_t o, std::size_t k) const {
  if (k >= inner) return 0.0F;
  const char* const at = data + o * outer_bytes + k * inner_bytes;
  if (!bf16) {
    float value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

float Source::Word(std::size_t o, std::size_t k) const {
  if (!bf16) return Value(o, k);
  if (!pairs()) return Value(o, k ^ 1U);
  const auto low = std::bit_cast<std::uint32_t>(Value(o, 2 * k)) >> 16U;
  const auto high = std::bit_cast<std::uint32_t>(Value(o, 2 * k + 1)) & 0xFFFF0000U;
  return std::bit_cast<float>(high | low);
}

Source SourceOf(const Operand& b, std::size_t inner, std::size_t columns, DType type,
                const MicroKernels& kernels) {
  static constexpr float kNothing = 0;  // What an empty operand may have no memory for.
  const std::size_t size = SizeOf(type);
  return {static_cast<const char*>(b.data == nullptr ? &kNothing : b.data),
          b.column_stride * size,
          b.row_stride * size,
          columns,
          inner,
          type == DType::kBF16,
          &kernels};
}

std::size_t Words(std::size_t inner, DType type, const MicroKernels& kernels) {
  if (type == DType::kF32) return inner;
  return kernels.pairs ? RoundUp((inner + 1) / 2, kernels.words_step) : RoundUp(inner, 2);
}

void PackTogether(const Source& s, std::size_t first, std::size_t width, std::size_t begin,
                  std::size_t words, float* to) {
  const std::size_t outers = first < s.outer ? std::min(width, s.outer - first) : 0;
  const char* const from = s.data + first * s.outer_bytes;
  const bool pairs = s.pairs();
  std::size_t k = 0;
  if (s.inner_together() && (pairs || !s.bf16)) {
    // Words without a missing half.
    const std::size_t whole = s.bf16 ? s.inner / 2 : s.inner;
    const std::size_t fast = std::min(words, whole - std::min(begin, whole));
    const auto turn = [&](std::size_t size, auto function) {
      for (; k + size <= fast; k += size) {
        std::size_t o = 0;
        for (; o + size <= outers; o += size) {
          function(from + o * s.outer_bytes + (begin + k) * 4, s.outer_bytes, to + k * width + o,
                   width);
        }
        for (; o < width; ++o) {
          for (std::size_t i = 0; i < size; ++i) {
            to[(k + i) * width + o] = o < outers ? s.Word(first + o, begin + k + i) : 0.0F;
          }
        }
      }
    };
    if (s.kernels->turn_words != nullptr) turn(16, s.kernels->turn_words);
    turn(8, Turn8x8);
  }
  for (; k < words; ++k) {
    float* const row = to + k * width;
    std::size_t o = 0;
    if (!s.inner_together()) {
      if (!s.bf16 && begin + k < s.inner) {
        std::memcpy(row, from + (begin + k) * s.inner_bytes, outers * sizeof(float));
        o = outers;
      } else if (pairs && 2 * (begin + k) + 1 < s.inner) {
        const char* const even = from + 2 * (begin + k) * s.inner_bytes;
        for (; o + 16 <= outers; o += 16) {
          Interleave16(even + o * 2, even + s.inner_bytes + o * 2, row + o);
        }
      } else if (s.bf16 && !pairs && ((begin + k) ^ 1U) < s.inner) {
        const char* const source = from + ((begin + k) ^ 1U) * s.inner_bytes;
        for (; o + 8 <= outers; o += 8) _mm256_storeu_ps(row + o, Widen8(source + o * 2));
      }
    }
    for (; o < width; ++o) row[o] = o < outers ? s.Word(first + o, begin + k) : 0.0F;
  }
}

namespace {

// Words whose rows of b are near: packed for all panels before the next ones are.
constexpr std::size_t kNearWords = 8;

// Whether PackTogether interleaves rows of this source, and of these words.
bool Interleaves(const Source& s, std::size_t begin, std::size_t words) {
  return s.pairs() && !s.inner_together() && 2 * (begin + words) <= s.inner;
}

}  // namespace

void PackPanels(const Source& s, std::size_t first, std::size_t outers, std::size_t begin,
                std::size_t words, float* to) {
  const std::size_t width = s.kernels->panel_columns;
  // Panel after panel would meet each row of memory once for a line of it.
  const std::size_t step = Interleaves(s, begin, words) ? kNearWords : words;
  for (std::size_t k = 0; k < words; k += step) {
    const std::size_t count = std::min(step, words - k);
    for (std::size_t o = 0; o < outers; o += width) {
      if (step < words) {
        const char* const next =
            s.data + (first + o) * s.outer_bytes + 2 * (begin + k + step) * s.inner_bytes;
        for (std::size_t row = 0; row < 2 * step; ++row) {
          _mm_prefetch(next + row * s.inner_bytes, _MM_HINT_T0);
        }
      }
      PackTogether(s, first + o, width, begin + k, count, to + o * words + k * width);
    }
  }
}

void PackApart(const Source& s, std::size_t first, std::size_t outers, std::size_t begin,
               std::size_t words, float* to, std::size_t to_row) {
  const bool pairs = s.pairs();
  const std::size_t whole = s.inner / 2;  // Pairs.
  const std::size_t whole_here = std::min(words, whole - std::min(begin, whole));
  const std::size_t turned =
      pairs && !s.inner_together() && s.kernels->turn_pairs != nullptr ? outers / 32 * 32 : 0;
  const std::size_t turned_words = turned > 0 ? whole_here / 16 * 16 : 0;
  for (std::size_t k = 0; k < turned_words; k += 16) {
    const char* const from = s.data + first * 2 + 2 * (begin + k) * s.inner_bytes;
    for (std::size_t o = 0; o < turned; o += 32) {
      s.kernels->turn_pairs(from + o * 2, s.inner_bytes, to + o * to_row + k, to_row);
    }
  }
  for (std::size_t o = 0; o < outers; ++o) {
    float* const row = to + o * to_row;
    std::size_t k = o < turned ? turned_words : 0;
    if (s.bf16 && s.inner_together()) {
      const char* const from = s.data + (first + o) * s.outer_bytes + begin * (pairs ? 4 : 2);
      if (pairs) {
        std::memcpy(row, from, whole_here * sizeof(float));
        k = whole_here;
      } else {
        for (; k + 8 <= words && begin + k + 8 <= s.inner; k += 8) {
          // Neighbours change places.
          _mm256_storeu_ps(row + k,
                           _mm256_permute_ps(Widen8(from + k * 2), _MM_SHUFFLE(2, 3, 0, 1)));
        }
      }
    }
    for (; k < words; ++k) row[k] = s.Word(first + o, begin + k);
  }
}

}  // namespace muster::kernels
