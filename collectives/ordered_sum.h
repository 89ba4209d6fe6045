// The sum over ranks, element by element, in one fixed binary tree.
//
// Tree(n): a leaf for n = 1; otherwise the left part has the largest power of two below n leaves.
// So 3: (0+1)+2, 4: (0+1)+(2+3), 5: ((0+1)+(2+3))+4. Floating-point sums depend on their order;
// here the order depends on n alone, not on who adds, in which pieces, or what arrives first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace muster {

// Leaves of the left part of Tree(n), n >= 2.
constexpr std::size_t LeftLeaves(std::size_t n) {
  std::size_t left = 1;
  while (2 * left < n) left *= 2;
  return left;
}

// Writes Tree(sources)[i] to destination[i] of every destination, i in [0, count). A destination
// may be one of the sources, but arrays do not overlap otherwise.
template <class T>
void OrderedSum(std::span<const T* const> sources, std::span<T* const> destinations,
                std::size_t count);

// left[i] += right[i]: one inner node of the tree.
template <class T>
void AddInto(T* left, const T* right, std::size_t count);

// Elements [begin, end) of `count` that belong to `part` of `parts`. Cuts fall on multiples of 16
// elements (a cache line of floats), so that two ranks never write one line. Parts may be empty.
struct Part {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t size() const { return end - begin; }
};
Part PartOf(std::size_t count, std::size_t part, std::size_t parts);

extern template void OrderedSum<float>(std::span<const float* const>, std::span<float* const>,
                                       std::size_t);
extern template void OrderedSum<double>(std::span<const double* const>, std::span<double* const>,
                                        std::size_t);
extern template void OrderedSum<std::uint64_t>(std::span<const std::uint64_t* const>,
                                               std::span<std::uint64_t* const>, std::size_t);

extern template void AddInto<float>(float*, const float*, std::size_t);
extern template void AddInto<double>(double*, const double*, std::size_t);

}  // namespace muster
