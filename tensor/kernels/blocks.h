// Work cut into blocks of fixed size, which threads share: what a block is never depends on how
// many threads there are.
#pragma once

#include <algorithm>
#include <cstddef>

#include "tensor/bfloat16.h"
#include "tensor/kernels/wide.h"
#include "tensor/thread_pool.h"

namespace muster::kernels {

inline constexpr std::size_t kElementBlock = 16384;  // 64 KiB of f32: well within a core's cache.

// body(begin, count) over blocks of at most `block` of `count` things.
template <class Body>
void ForBlocks(ThreadPool* pool, std::size_t count, std::size_t block, const Body& body) {
  ParallelFor(pool, (count + block - 1) / block, [&](std::size_t index) {
    const std::size_t begin = index * block;
    body(begin, std::min(block, count - begin));
  });
}

// How many rows of `width` elements make about one block; at least 1.
inline std::size_t RowsPerBlock(std::size_t width) {
  return std::max<std::size_t>(1, kElementBlock / std::max<std::size_t>(width, 1));
}

// to[i] = from[i] in the other type.
template <class From, class To>
void Convert(const From* from, To* to, std::size_t count) {
  Wide([&] {
    for (std::size_t i = 0; i < count; ++i) to[i] = To(ToFloat(from[i]));
  });
}

// to[i] += from[i], rounded once.
template <class From, class To>
void AddTo(const From* from, To* to, std::size_t count) {
  Wide([&] {
    for (std::size_t i = 0; i < count; ++i) to[i] = To(ToFloat(to[i]) + ToFloat(from[i]));
  });
}

}  // namespace muster::kernels
