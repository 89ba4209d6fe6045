#include "envs/sample.h"

#include <cmath>

namespace muster::envs {
namespace {

double DrawNumber(double low, double high, NumpyRandom& random) {
  if (std::isfinite(low) && std::isfinite(high)) return random.Uniform(low, high);
  const double normal = random.StandardNormal();
  if (std::isfinite(low)) return low + std::abs(normal);
  if (std::isfinite(high)) return high - std::abs(normal);
  return normal;
}

}  // namespace

void Sample(const Space& space, NumpyRandom& random, ValueArray& value) {
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (space.dtype == DType::kInt32) {
      value.As<std::int32_t>()[i] = static_cast<std::int32_t>(random.Integers(0, space.choices[i]));
    } else if (space.dtype == DType::kFloat32) {
      value.As<float>()[i] = static_cast<float>(DrawNumber(space.low[i], space.high[i], random));
    } else {
      const auto low = static_cast<std::int64_t>(space.low[i]);
      const auto high = static_cast<std::int64_t>(space.high[i]);
      value.As<std::uint8_t>()[i] = static_cast<std::uint8_t>(random.Integers(low, high + 1));
    }
  }
}

}  // namespace muster::envs
