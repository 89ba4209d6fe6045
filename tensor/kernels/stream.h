// Rows on their way between a core and memory: results written past the caches, rows fetched before
// they are wanted. Bits do not depend on it.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace muster::kernels {

inline constexpr std::size_t kCacheLine = 64;
// Of a larger result nothing is in a near cache any more when it is read again.
// Tests stream smaller ones as well.
inline constexpr std::size_t kStreamedBytes = std::size_t{1} << 23U;
inline std::size_t streamed_bytes = kStreamedBytes;

// Whether rows of `row_bytes` each, `bytes` in all, are to be streamed to `to`: whole lines, and
// many of them.
inline bool Streams(const void* to, std::size_t row_bytes, std::size_t bytes) {
  return bytes >= streamed_bytes && reinterpret_cast<std::uintptr_t>(to) % kCacheLine == 0 &&
         row_bytes % kCacheLine == 0;
}

// Both begin a line. A plain store would first read the line that it fills, then push another out.
inline void StreamLine(const void* from, void* to) {
  const auto* const source = static_cast<const __m256i*>(from);
  auto* const target = static_cast<__m256i*>(to);
  _mm256_stream_si256(target, _mm256_load_si256(source));
  _mm256_stream_si256(target + 1, _mm256_load_si256(source + 1));
}

// to[i] = T(value(i)) for i below `count`. If it streams, `to` begins a line and has whole lines.
template <class T, class Value>
inline void StoreRow(bool streams, T* __restrict to, std::size_t count, const Value& value) {
  constexpr std::size_t kLine = kCacheLine / sizeof(T);
  if (!streams) {
    for (std::size_t i = 0; i < count; ++i) to[i] = T(value(i));
    return;
  }
  for (std::size_t begin = 0; begin < count; begin += kLine) {
    alignas(kCacheLine) T line[kLine];
    for (std::size_t i = 0; i < kLine; ++i) line[i] = T(value(begin + i));
    StreamLine(line, to + begin);
  }
}

// Both begin a line and have whole ones.
template <class T>
inline void StreamRow(const T* from, std::size_t count, T* to) {
  constexpr std::size_t kLine = kCacheLine / sizeof(T);
  for (std::size_t i = 0; i < count; i += kLine) StreamLine(from + i, to + i);
}

// After what a thread streamed last, before another thread may read.
inline void EndStream(bool streams) {
  if (streams) _mm_sfence();
}

// Asks for a row that is soon read.
inline void FetchRow(const void* row, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += kCacheLine) {
    _mm_prefetch(static_cast<const char*>(row) + at, _MM_HINT_T0);
  }
}

}  // namespace muster::kernels
