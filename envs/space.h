// Space: what an observation or an action may be; Values: one or many of them in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "base/status.h"

namespace muster::envs {

// How an element lies in memory. Discrete values are 32-bit here (64 in Gymnasium): what policies
// index with.
enum class DType : std::uint8_t { kFloat32, kInt32, kUint8 };

std::size_t BytesOf(DType dtype);
const char* NameOf(DType dtype);  // "float32", ...

template <class T>
constexpr DType kDTypeOf = std::is_same_v<T, float>          ? DType::kFloat32
                           : std::is_same_v<T, std::int32_t> ? DType::kInt32
                                                             : DType::kUint8;

// A view of `size` elements that lie one after the other. Does not own them.
struct ConstValues {
  DType dtype = DType::kFloat32;
  const void* data = nullptr;
  std::size_t size = 0;

  ConstValues() = default;
  ConstValues(DType type, const void* at, std::size_t count) : dtype(type), data(at), size(count) {}
  template <class T>
  ConstValues(std::span<T> values)  // NOLINT: implicit by design.
      : dtype(kDTypeOf<std::remove_const_t<T>>), data(values.data()), size(values.size()) {}
  template <class T>
  ConstValues(const std::vector<T>& values)  // NOLINT: implicit by design.
      : dtype(kDTypeOf<T>), data(values.data()), size(values.size()) {}

  template <class T>
  std::span<const T> As() const {
    MUSTER_CHECK(dtype == kDTypeOf<T>, std::string("these values are ") + NameOf(dtype));
    return {static_cast<const T*>(data), size};
  }
  // Any element as a number; float and int32 are exact in double.
  double operator[](std::size_t i) const;
  // `count` elements from `first` on.
  ConstValues Part(std::size_t first, std::size_t count) const {
    MUSTER_CHECK(first + count <= size, "part of values beyond their end");
    return {dtype, static_cast<const std::byte*>(data) + first * BytesOf(dtype), count};
  }
  std::size_t bytes() const { return size * BytesOf(dtype); }
};

// Values that it owns.
class ValueArray {
 public:
  ValueArray() = default;
  ValueArray(DType dtype, std::size_t size) : dtype_(dtype), bytes_(size * BytesOf(dtype)) {}

  template <class T>
  std::span<T> As() {
    MUSTER_CHECK(dtype_ == kDTypeOf<T>, std::string("these values are ") + NameOf(dtype_));
    return {reinterpret_cast<T*>(bytes_.data()), size()};
  }
  operator ConstValues() const { return {dtype_, bytes_.data(), size()}; }  // NOLINT: as intended.
  ConstValues Part(std::size_t first, std::size_t count) const {
    return ConstValues(*this).Part(first, count);
  }
  // Copies `from`, of the same dtype, to the elements from `first` on.
  void Set(std::size_t first, ConstValues from) {
    MUSTER_CHECK(from.dtype == dtype_ && first + from.size <= size(), "values do not fit");
    if (from.size > 0) {
      std::memcpy(bytes_.data() + first * BytesOf(dtype_), from.data, from.bytes());
    }
  }
  std::size_t size() const { return bytes_.size() / BytesOf(dtype_); }
  std::span<std::byte> bytes() { return bytes_; }

 private:
  DType dtype_ = DType::kFloat32;
  std::vector<std::byte> bytes_;
};

enum class SpaceKind : std::uint8_t {
  kBox,            // Numbers between bounds, of any shape.
  kDiscrete,       // One of n choices, 0..n-1.
  kMultiDiscrete,  // Several independent choices.
};

struct Space {
  SpaceKind kind = SpaceKind::kBox;
  DType dtype = DType::kFloat32;
  std::vector<std::size_t> shape;     // Discrete: {}; multi-discrete: {choices}.
  std::vector<double> low, high;      // Box: one an element, may be infinite.
  std::vector<std::int32_t> choices;  // Discrete and multi-discrete: how many of each.

  // One-dimensional, with bounds of its own for each element; float32.
  static Space Box(std::vector<double> low, std::vector<double> high);
  // Any shape, the same bounds for every element.
  static Space Box(std::vector<std::size_t> shape, double low, double high,
                   DType dtype = DType::kFloat32);
  static Space Discrete(std::int32_t n);
  static Space MultiDiscrete(std::vector<std::int32_t> choices);

  std::size_t elements() const;
  std::size_t bytes() const { return elements() * BytesOf(dtype); }
  // kInvalidArgument says which element is outside, and what would be inside. `what` begins the
  // sentence ("action"). NaN is outside every box.
  Status Check(ConstValues value, const char* what) const;
  // "Discrete(2)", "Box(-1..1, [3], float32)", "MultiDiscrete([32, 11, 2])".
  std::string Text() const;

  bool operator==(const Space&) const = default;
};

}  // namespace muster::envs
