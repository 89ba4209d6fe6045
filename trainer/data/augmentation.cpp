#include "trainer/data/augmentation.h"

#include <algorithm>
#include <string>

namespace muster {

Status ValidateAugment(const AugmentOptions& options, const FeatureShape& shape) {
  if (!options.any()) return {};
  if (shape.height == 1) {
    return InvalidArgument("augment needs images, but the samples are " + ToString(shape));
  }
  const std::size_t smallest = std::min(shape.height, shape.width);
  if (options.shift_max < smallest) return {};
  return InvalidArgument("augment.shift_max " + std::to_string(options.shift_max) +
                         " can move images of " + ToString(shape) +
                         " out of sight; the most for them is " + std::to_string(smallest - 1));
}

ImageMove DrawMove(const AugmentOptions& options, std::uint64_t seed, std::uint32_t lane,
                   std::uint64_t sample) {
  const PhiloxBlock block = RandomBlock(seed, RandomPurpose::kAugmentation, lane, sample);
  const auto shift = [&options](std::uint32_t bits) {
    const std::uint64_t choices = 2 * options.shift_max + 1;
    return static_cast<std::ptrdiff_t>(Below(bits, 0, choices)) -
           static_cast<std::ptrdiff_t>(options.shift_max);
  };
  return {shift(block[0]), shift(block[1]), options.flip && (block[2] >> 31U) == 1};
}

}  // namespace muster
