// The fixed blocks that optimiser steps and norms are cut into.
#pragma once

#include <algorithm>
#include <cstddef>

#include "tensor/thread_pool.h"

namespace muster::nn {

constexpr std::size_t kFlatBlock = 65536;  // Elements: 256 KiB of each vector.

inline std::size_t FlatBlocks(std::size_t elements) {
  return (elements + kFlatBlock - 1) / kFlatBlock;
}

// body(block, begin, end) for every block of a vector of `elements`.
template <class Body>
void ForFlatBlocks(ThreadPool* pool, std::size_t elements, const Body& body) {
  ParallelFor(pool, FlatBlocks(elements), [&](std::size_t block) {
    const std::size_t begin = block * kFlatBlock;
    body(block, begin, std::min(elements, begin + kFlatBlock));
  });
}

}  // namespace muster::nn
