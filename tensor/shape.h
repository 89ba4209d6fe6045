// The sizes of a tensor's dimensions, outermost first; row-major and contiguous in memory.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <string>

#include "base/check.h"

namespace muster {

class Shape {
 public:
  static constexpr std::size_t kRankMax = 5;

  Shape() = default;  // Rank 0: one element.
  Shape(std::initializer_list<std::size_t> sizes) {
    MUSTER_CHECK(sizes.size() <= kRankMax, "a tensor has at most five dimensions");
    for (const std::size_t size : sizes) sizes_[rank_++] = size;
  }

  std::size_t rank() const { return rank_; }
  std::size_t operator[](std::size_t dimension) const {
    MUSTER_CHECK(dimension < rank_, "dimension beyond the rank of " + ToString());
    return sizes_[dimension];
  }
  std::size_t last() const { return rank_ == 0 ? 1 : sizes_[rank_ - 1]; }
  std::size_t elements() const {
    std::size_t product = 1;
    for (std::size_t i = 0; i < rank_; ++i) product *= sizes_[i];
    return product;
  }
  void Append(std::size_t size) {
    MUSTER_CHECK(rank_ < kRankMax, "a tensor has at most five dimensions");
    sizes_[rank_++] = size;
  }
  // "[32, 28, 28, 1]".
  std::string ToString() const {
    std::string text = "[";
    for (std::size_t i = 0; i < rank_; ++i) {
      text += (i == 0 ? "" : ", ") + std::to_string(sizes_[i]);
    }
    return text + "]";
  }

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && a.sizes_ == b.sizes_;  // Unused sizes are zero.
  }

 private:
  std::array<std::size_t, kRankMax> sizes_{};
  std::size_t rank_ = 0;
};

}  // namespace muster
