#include "envs/space.h"

#include <array>
#include <cstdio>

namespace muster::envs {
namespace {

std::string Number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", value);
  return text.data();
}

template <class T>
std::string List(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& value : values) {
    text += (text.size() > 1 ? ", " : "") + Number(static_cast<double>(value));
  }
  return text + "]";
}

bool AllEqual(const std::vector<double>& values) {
  for (const double value : values) {
    if (value != values.front()) return false;
  }
  return true;
}

}  // namespace

std::size_t BytesOf(DType dtype) { return dtype == DType::kUint8 ? 1 : 4; }

const char* NameOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kInt32:
      return "int32";
    case DType::kUint8:
      return "uint8";
  }
  return "?";
}

double ConstValues::operator[](std::size_t i) const {
  switch (dtype) {
    case DType::kFloat32:
      return static_cast<double>(As<float>()[i]);
    case DType::kInt32:
      return As<std::int32_t>()[i];
    case DType::kUint8:
      return As<std::uint8_t>()[i];
  }
  return 0;
}

Space Space::Box(std::vector<double> low, std::vector<double> high) {
  MUSTER_CHECK(low.size() == high.size(), "a box needs as many lower as upper bounds");
  Space space;
  space.shape = {low.size()};
  space.low = std::move(low);
  space.high = std::move(high);
  return space;
}

Space Space::Box(std::vector<std::size_t> shape, double low, double high, DType dtype) {
  Space space;
  space.dtype = dtype;
  space.shape = std::move(shape);
  space.low.assign(space.elements(), low);
  space.high.assign(space.elements(), high);
  return space;
}

Space Space::Discrete(std::int32_t n) {
  Space space;
  space.kind = SpaceKind::kDiscrete;
  space.dtype = DType::kInt32;
  space.choices = {n};
  return space;
}

Space Space::MultiDiscrete(std::vector<std::int32_t> choices) {
  Space space;
  space.kind = SpaceKind::kMultiDiscrete;
  space.dtype = DType::kInt32;
  space.shape = {choices.size()};
  space.choices = std::move(choices);
  return space;
}

std::size_t Space::elements() const {
  std::size_t count = 1;
  for (const std::size_t size : shape) count *= size;
  return count;
}

Status Space::Check(ConstValues value, const char* what) const {
  if (value.dtype != dtype || value.size != elements()) {
    return InvalidArgument(std::string(what) + " has " + std::to_string(value.size) +
                           " elements of " + NameOf(value.dtype) + "; it must be of " + Text());
  }
  for (std::size_t i = 0; i < value.size; ++i) {
    const double number = value[i];
    const bool inside = kind == SpaceKind::kBox ? number >= low[i] && number <= high[i]
                                                : number >= 0 && number < choices[i];
    if (!inside) {
      return InvalidArgument(std::string(what) + " " +
                             (value.size > 1 ? "element " + std::to_string(i) + " " : "") + "is " +
                             Number(number) + ", outside of " + Text());
    }
  }
  return {};
}

std::string Space::Text() const {
  if (kind == SpaceKind::kDiscrete) return "Discrete(" + std::to_string(choices[0]) + ")";
  if (kind == SpaceKind::kMultiDiscrete) return "MultiDiscrete(" + List(choices) + ")";
  const bool plain = !low.empty() && AllEqual(low) && AllEqual(high);
  return "Box(" +
         (plain ? Number(low[0]) + ".." + Number(high[0]) : List(low) + ".." + List(high)) + ", " +
         List(shape) + ", " + NameOf(dtype) + ")";
}

}  // namespace muster::envs
