// Rows added into the rows of a matrix that indices name, in a fixed order and without atomics:
// what the gradients of embeddings and gathers are made of.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/check.h"
#include "tensor/autograd/tape.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/lanes.h"

namespace muster::kernels {

// to = from, or to += from, rounded once.
template <class T>
void CopyOrAdd(const T* from, T* to, std::size_t count, bool accumulate) {
  if (!accumulate) {
    std::copy_n(from, count, to);
    return;
  }
  AddTo(from, to, count);
}

// The positions of each index's occurrences: of row r they are positions[begins[r]] up to
// positions[begins[r + 1]], ascending. At most 2^31 indices.
struct RowPositions {
  const std::uint32_t* begins = nullptr;     // [rows + 1]
  const std::uint32_t* positions = nullptr;  // [indices]
};

// Every index is in [0, rows). A counting sort, which is stable: O(indices + rows).
inline RowPositions SortByRow(Tape& tape, std::span<const std::int32_t> indices, std::size_t rows) {
  auto* const begins = tape.Scratch<std::uint32_t>({rows + 2});
  auto* const positions = tape.Scratch<std::uint32_t>({indices.size()});
  // begins[r + 2] counts row r; summed, begins[r + 1] is where r begins; after the walk, where it
  // ends.
  std::fill_n(begins, rows + 2, 0U);
  for (const std::int32_t row : indices) ++begins[static_cast<std::size_t>(row) + 2];
  for (std::size_t r = 2; r < rows + 2; ++r) begins[r] += begins[r - 1];
  for (std::size_t i = 0; i < indices.size(); ++i) {
    positions[begins[static_cast<std::size_t>(indices[i]) + 1]++] = static_cast<std::uint32_t>(i);
  }
  return {begins, positions};
}

// to[r] (+)= the sum over r's positions p, ascending, of from[p]: rows of `width`, added in f32 and
// rounded once. Without `accumulate` all rows are written, those without a position with zeros;
// with it only the others are touched. Shared over the pool by rows of `to`.
template <class From, class To>
void AddRows(ThreadPool* pool, const RowPositions& sorted, std::size_t rows, std::size_t width,
             const From* from, To* to, bool accumulate) {
  ForBlocks(pool, rows, RowsPerBlock(width), [&](std::size_t begin, std::size_t count) {
    for (std::size_t row = begin; row < begin + count; ++row) {
      const std::uint32_t *const first = sorted.positions + sorted.begins[row],
                                 *const last = sorted.positions + sorted.begins[row + 1];
      if (first == last && accumulate) continue;
      To* const sums = to + row * width;
      const auto add = [&](std::size_t i, std::size_t n) {
        Lanes sum = accumulate ? LoadUpTo(sums + i, n) : Lanes{};
        for (const std::uint32_t* p = first; p != last; ++p) {
          sum += LoadUpTo(from + *p * width + i, n);
        }
        StoreUpTo(sums + i, sum, n);
      };
      // Four at a time: a row that is named often is not read in too small pieces.
      std::size_t i = 0;
      for (; i + 4 * kLanes <= width; i += 4 * kLanes) {
        Lanes sum[4] = {};
        for (std::size_t l = 0; accumulate && l < 4; ++l) sum[l] = LoadLanes(sums + i + l * kLanes);
        for (const std::uint32_t* p = first; p != last; ++p) {
          const From* const values = from + *p * width + i;
          for (std::size_t l = 0; l < 4; ++l) sum[l] += LoadLanes(values + l * kLanes);
        }
        for (std::size_t l = 0; l < 4; ++l) StoreLanes(sums + i + l * kLanes, sum[l]);
      }
      ForLanes(width - i, [&](std::size_t j, std::size_t n) { add(i + j, n); });
    }
  });
}

// to[i] (+)= from[indices[i]], rows of `width`.
template <class T>
void CopyRows(ThreadPool* pool, std::span<const std::int32_t> indices, std::size_t width,
              const T* from, T* to, bool accumulate = false) {
  ForBlocks(pool, indices.size(), RowsPerBlock(width), [&](std::size_t begin, std::size_t count) {
    for (std::size_t i = begin; i < begin + count; ++i) {
      CopyOrAdd(from + static_cast<std::size_t>(indices[i]) * width, to + i * width, width,
                accumulate);
    }
  });
}

// Refuses an index that is not in [0, rows), naming it, and more than 2^31 of them; `what` says
// what an index is.
inline void CheckIndices(std::span<const std::int32_t> indices, std::size_t rows,
                         const char* what) {
  MUSTER_CHECK(indices.size() >> 31U == 0, std::to_string(indices.size()) + " indices");
  for (std::size_t i = 0; i < indices.size(); ++i) {
    MUSTER_CHECK(indices[i] >= 0 && static_cast<std::size_t>(indices[i]) < rows,
                 std::string(what) + " " + std::to_string(indices[i]) + " at position " +
                     std::to_string(i) + " of " + std::to_string(rows) + " rows");
  }
}

// A copy that lives as long as the step.
inline std::span<const std::int32_t> KeepIndices(Tape& tape,
                                                 std::span<const std::int32_t> indices) {
  auto* const kept = tape.Scratch<std::int32_t>({indices.size()});
  std::copy(indices.begin(), indices.end(), kept);
  return {kept, indices.size()};
}

}  // namespace muster::kernels
