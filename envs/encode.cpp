#include "envs/encode.h"

#include <algorithm>
#include <numeric>

namespace muster::envs {

std::size_t FeaturesOf(const Space& space) {
  if (space.kind == SpaceKind::kBox) return space.elements();
  return static_cast<std::size_t>(
      std::accumulate(space.choices.begin(), space.choices.end(), std::int64_t{0}));
}

void Encode(const Space& space, ConstValues observations, std::span<float> features) {
  const std::size_t width = space.elements(), wide = FeaturesOf(space);
  MUSTER_CHECK(observations.dtype == space.dtype && observations.size % width == 0 &&
                   features.size() == observations.size / width * wide,
               "observations and features of different shapes");
  if (space.dtype == DType::kFloat32) {
    const auto values = observations.As<float>();
    std::copy(values.begin(), values.end(), features.begin());
    return;
  }
  if (space.dtype == DType::kUint8) {
    const auto pixels = observations.As<std::uint8_t>();
    std::transform(pixels.begin(), pixels.end(), features.begin(),
                   [](std::uint8_t pixel) { return static_cast<float>(pixel) / 255.0F; });
    return;
  }
  std::fill(features.begin(), features.end(), 0.0F);
  const auto chosen = observations.As<std::int32_t>();
  std::size_t at = 0;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const std::int32_t choices = space.choices[i % width];
    MUSTER_CHECK(chosen[i] >= 0 && chosen[i] < choices, "a choice that there is not");
    features[at + static_cast<std::size_t>(chosen[i])] = 1;
    at += static_cast<std::size_t>(choices);
  }
}

}  // namespace muster::envs
