#include "collectives/ordered_sum.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

// The iterations of the next loop do not depend on each other, although its arrays may be the same.
#ifdef __clang__
#define MUSTER_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define MUSTER_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace muster {
namespace {

// Elements summed at a time: the partial sums of all levels stay in the first-level cache.
constexpr std::size_t kBlock = 512;

// Tree(sources)[offset, offset + count) into `sum`; count <= kBlock. Recursion is log2(n) deep.
template <class T>
void SumBlock(std::span<const T* const> sources, std::size_t offset, std::size_t count, T* sum) {
  if (sources.size() == 1) {
    std::memcpy(sum, sources[0] + offset, count * sizeof(T));
    return;
  }
  if (sources.size() == 2) {
    const T* a = sources[0] + offset;
    const T* b = sources[1] + offset;
    for (std::size_t i = 0; i < count; ++i) sum[i] = a[i] + b[i];
    return;
  }
  if (sources.size() == 4) {
    const T* a = sources[0] + offset;
    const T* b = sources[1] + offset;
    const T* c = sources[2] + offset;
    const T* d = sources[3] + offset;
    for (std::size_t i = 0; i < count; ++i) sum[i] = (a[i] + b[i]) + (c[i] + d[i]);
    return;
  }
  const std::size_t left = LeftLeaves(sources.size());
  std::array<T, kBlock> right;  // Written before it is read.
  SumBlock(sources.first(left), offset, count, sum);
  SumBlock(sources.subspan(left), offset, count, right.data());
  for (std::size_t i = 0; i < count; ++i) sum[i] = sum[i] + right[i];
}

// The case of two processes, without a detour through a block.
template <class T>
void SumTwoIntoTwo(const T* a, const T* b, T* x, T* y, std::size_t count) {
  MUSTER_INDEPENDENT
  for (std::size_t i = 0; i < count; ++i) {
    const T sum = a[i] + b[i];
    x[i] = sum;
    y[i] = sum;
  }
}

}  // namespace

template <class T>
void OrderedSum(std::span<const T* const> sources, std::span<T* const> destinations,
                std::size_t count) {
  MUSTER_CHECK(!sources.empty(), "a sum needs a source");
  if (sources.size() == 2 && destinations.size() == 2) {
    SumTwoIntoTwo(sources[0], sources[1], destinations[0], destinations[1], count);
    return;
  }
  std::array<T, kBlock> sum;
  for (std::size_t at = 0; at < count; at += kBlock) {
    const std::size_t elements = std::min(kBlock, count - at);
    SumBlock(sources, at, elements, sum.data());
    for (T* destination : destinations) {
      std::memcpy(destination + at, sum.data(), elements * sizeof(T));
    }
  }
}

template <class T>
void AddInto(T* left, const T* right, std::size_t count) {
  MUSTER_INDEPENDENT
  for (std::size_t i = 0; i < count; ++i) left[i] = left[i] + right[i];
}

Part PartOf(std::size_t count, std::size_t part, std::size_t parts) {
  constexpr std::size_t kLine = 16;
  const std::size_t lines = (count + kLine - 1) / kLine;
  const auto cut = [&](std::size_t k) { return std::min(count, (lines * k / parts) * kLine); };
  return {cut(part), cut(part + 1)};
}

template void OrderedSum<float>(std::span<const float* const>, std::span<float* const>,
                                std::size_t);
template void OrderedSum<double>(std::span<const double* const>, std::span<double* const>,
                                 std::size_t);
template void OrderedSum<std::uint64_t>(std::span<const std::uint64_t* const>,
                                        std::span<std::uint64_t* const>, std::size_t);
template void AddInto<float>(float*, const float*, std::size_t);
template void AddInto<double>(double*, const double*, std::size_t);

}  // namespace muster
