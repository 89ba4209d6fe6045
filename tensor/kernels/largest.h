// The k largest of a row in a total order: descending values, equal ones by ascending index.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor/kernels/descending_key.h"
#include "tensor/kernels/lane_math.h"
#include "tensor/kernels/lanes.h"

namespace muster::kernels {

// keys = those of the first min(k, width) elements in the order, ascending; k > 0, width < 2^32.
template <class T>
void SelectLargest(const T* row, std::size_t width, std::size_t k,
                   std::vector<std::uint64_t>& keys) {
  constexpr std::size_t kPart = 64;
  k = std::min(k, width);
  const std::size_t room = std::max<std::size_t>(2 * k, 256);
  keys.clear();
  float limit = 0;  // The k-th largest so far; a later element has to be larger.
  bool limited = false;
  for (std::size_t begin = 0; begin < width; begin += kPart) {
    const std::size_t count = std::min(kPart, width - begin);
    if (limited && MaxLanes(count, [&](std::size_t i, std::size_t n) {
                     return LoadUpTo(row + begin + i, n);
                   }) <= limit) {
      continue;
    }
    for (std::size_t i = begin; i < begin + count; ++i) {
      keys.push_back(DescendingKey(ToFloat(row[i]), i));
    }
    if (keys.size() < room) continue;
    const auto kth = keys.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(keys.begin(), kth, keys.end());
    keys.resize(k);
    limit = ToFloat(row[IndexOf(keys.back())]);
    limited = true;
  }
  std::sort(keys.begin(), keys.end());
  keys.resize(k);
}

}  // namespace muster::kernels
