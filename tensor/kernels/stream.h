// Stores past the caches: of results that are larger than these and read only later.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace muster::kernels {

inline constexpr std::size_t kCacheLine = 64;

// Whether what is written to `to` may be streamed a whole line at a time.
inline bool StartsLine(const void* to, std::size_t row_bytes) {
  return reinterpret_cast<std::uintptr_t>(to) % kCacheLine == 0 && row_bytes % kCacheLine == 0;
}

// Copies a line; both are aligned to one. A plain store would first read the line that it fills.
inline void StreamLine(const void* from, void* to) {
  const auto* const source = static_cast<const __m256i*>(from);
  auto* const target = static_cast<__m256i*>(to);
  _mm256_stream_si256(target, _mm256_load_si256(source));
  _mm256_stream_si256(target + 1, _mm256_load_si256(source + 1));
}

// Before another thread may read what this one streamed.
inline void EndStreams() { _mm_sfence(); }

}  // namespace muster::kernels
