#include "nn/parameters.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "base/check.h"
#include "base/philox.h"
#include "nn/orthogonal.h"

namespace muster::nn {

namespace {

std::size_t Aligned(std::size_t elements) {
  return (elements + ParameterSet::kAlignment - 1) / ParameterSet::kAlignment *
         ParameterSet::kAlignment;
}

// Two normal numbers from two uniform ones (Box and Muller, 1958), in double so that the last bits
// of f32 do not hang on the maths library's f32 functions.
void BoxMuller(std::uint32_t a, std::uint32_t b, float* first, float* second) {
  const double radius = std::sqrt(-2.0 * std::log((static_cast<double>(a) + 1.0) / 4294967296.0));
  const double angle = 2.0 * std::numbers::pi * (static_cast<double>(b) / 4294967296.0);
  *first = static_cast<float>(radius * std::cos(angle));
  *second = static_cast<float>(radius * std::sin(angle));
}

// Four values of the distribution with deviation `deviation` from one block of random bits.
std::array<float, 4> Draw(const PhiloxBlock& bits, bool normal, float deviation) {
  std::array<float, 4> values{};
  if (normal) {
    BoxMuller(bits[0], bits[1], &values[0], &values[1]);
    BoxMuller(bits[2], bits[3], &values[2], &values[3]);
    for (float& value : values) value *= deviation;
  } else {
    const float bound = std::sqrt(3.0F) * deviation;
    for (std::size_t i = 0; i < 4; ++i) values[i] = bound * (2.0F * UnitFloat(bits[i]) - 1.0F);
  }
  return values;
}

void FillRandom(std::uint64_t seed, std::size_t number, bool normal, float deviation,
                std::span<float> values) {
  for (std::size_t begin = 0; begin < values.size(); begin += 4) {
    const std::array<float, 4> four =
        Draw(RandomBlock(seed, RandomPurpose::kInitialization, static_cast<std::uint32_t>(number),
                         begin / 4),
             normal, deviation);
    std::copy_n(four.begin(), std::min<std::size_t>(4, values.size() - begin), &values[begin]);
  }
}

// values [rows, columns], normal numbers, become gain times an orthogonal matrix.
void MakeOrthogonal(std::size_t rows, float gain, std::span<float> values) {
  const std::size_t columns = values.size() / rows;
  const bool wide = rows <= columns;
  const std::size_t count = std::min(rows, columns), length = std::max(rows, columns);
  // Element `i` of vector `v`: rows are the vectors of a wide matrix, columns of a tall one.
  const auto at = [&](std::size_t v, std::size_t i) {
    return wide ? v * columns + i : i * columns + v;
  };
  std::vector<double> vectors(values.size());
  for (std::size_t v = 0; v < count; ++v) {
    for (std::size_t i = 0; i < length; ++i) {
      vectors[v * length + i] = static_cast<double>(values[at(v, i)]);
    }
  }
  Orthonormalize(vectors, count, length);
  for (std::size_t v = 0; v < count; ++v) {
    for (std::size_t i = 0; i < length; ++i) {
      values[at(v, i)] = gain * static_cast<float>(vectors[v * length + i]);
    }
  }
}

}  // namespace

std::size_t ParameterSet::Add(ParameterSpec spec) {
  MUSTER_CHECK(spec.shape.elements() > 0 && spec.fan_in > 0,
               "parameter " + spec.name + " is empty");
  for (const ParameterSpec& other : specs_) {
    MUSTER_CHECK(other.name != spec.name, "two parameters are called " + spec.name);
  }
  specs_.push_back(std::move(spec));
  LayOut();
  return specs_.size() - 1;
}

void ParameterSet::Freeze(std::size_t number) {
  MUSTER_CHECK(number < specs_.size(), "no parameter " + std::to_string(number));
  specs_[number].frozen = true;
  LayOut();
}

void ParameterSet::LayOut() {
  flat_elements_ = 0;
  for (const bool frozen : {false, true}) {
    // The newest lies first.
    for (std::size_t i = specs_.size(); i-- > 0;) {
      if (specs_[i].frozen != frozen) continue;
      specs_[i].offset = flat_elements_;
      flat_elements_ += Aligned(specs_[i].shape.elements());
    }
    if (!frozen) trainable_elements_ = flat_elements_;
  }
}

std::size_t ParameterSet::parameter_elements() const {
  std::size_t total = 0;
  for (const ParameterSpec& spec : specs_) total += spec.shape.elements();
  return total;
}

std::vector<std::size_t> ParameterSet::ReadyOrder() const {
  std::vector<std::size_t> order;
  for (std::size_t i = specs_.size(); i-- > 0;) {
    if (!specs_[i].frozen) order.push_back(i);
  }
  return order;
}

void ParameterSet::Initialize(std::uint64_t seed, std::span<float> values) const {
  MUSTER_CHECK(values.size() == flat_elements_, "a vector of another size");
  std::fill(values.begin(), values.end(), 0.0F);
  for (std::size_t number = 0; number < specs_.size(); ++number) {
    const ParameterSpec& spec = specs_[number];
    const std::span<float> own = values.subspan(spec.offset, spec.shape.elements());
    if (spec.initialization == Initialization::kZeros) continue;
    if (spec.initialization == Initialization::kOnes) {
      std::fill(own.begin(), own.end(), 1.0F);
      continue;
    }
    if (spec.initialization == Initialization::kOrthogonal) {
      FillRandom(seed, number, true, 1.0F, own);
      MakeOrthogonal(spec.shape[0], spec.gain, own);
      continue;
    }
    FillRandom(seed, number, spec.initialization == Initialization::kKaimingNormal,
               spec.gain / std::sqrt(static_cast<float>(spec.fan_in)), own);
  }
}

template <class T>
std::vector<LeafBinding> ParameterSet::BindTo(std::span<const T> values,
                                              std::span<float> gradients) const {
  MUSTER_CHECK(values.size() == flat_elements_, "a value vector of another size");
  MUSTER_CHECK(gradients.empty() || gradients.size() == trainable_elements_,
               "a gradient vector of another size");
  std::vector<LeafBinding> leaves;
  for (const ParameterSpec& spec : specs_) {
    const bool none = spec.frozen || gradients.empty();
    leaves.push_back({spec.shape, values.data() + spec.offset,
                      none ? nullptr : gradients.data() + spec.offset, kDTypeOf<T>, spec.frozen});
  }
  return leaves;
}

std::vector<LeafBinding> ParameterSet::Bind(std::span<const float> values,
                                            std::span<float> gradients) const {
  return BindTo(values, gradients);
}

std::vector<LeafBinding> ParameterSet::Bind(std::span<const BFloat16> values,
                                            std::span<float> gradients) const {
  return BindTo(values, gradients);
}

}  // namespace muster::nn
