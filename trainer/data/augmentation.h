// Augmentation of training images: shifts and horizontal flips, as is usual for small images (He et
// al., arXiv:1512.03385, section 4.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/philox.h"
#include "base/status.h"
#include "trainer/data/dataset.h"

namespace muster {

struct AugmentOptions {
  std::size_t shift_max = 0;  // Pixels; every shift of -shift_max to shift_max, down and right.
  bool flip = false;          // Left becomes right with probability 1/2.

  bool any() const { return shift_max > 0 || flip; }
};

// kInvalidArgument when there is something to do but samples are no images, or could be shifted out
// of sight.
Status ValidateAugment(const AugmentOptions& options, const FeatureShape& shape);

// What happens to one image: it is flipped, then shifted; what comes in from beyond its border is
// 0.
struct ImageMove {
  std::ptrdiff_t down = 0;
  std::ptrdiff_t right = 0;
  bool flip = false;

  bool operator==(const ImageMove&) const = default;
};

// The move of the `sample`-th sample that `lane` uses in the job, counted from 0 over all its
// steps: a function of these numbers alone, so the same on any rank and after a resume.
ImageMove DrawMove(const AugmentOptions& options, std::uint64_t seed, std::uint32_t lane,
                   std::uint64_t sample);

// One channel of an image [height, width], moved. Valid until this thread's next call.
template <class T>
const T* MovedPlane(const T* plane, const FeatureShape& shape, const ImageMove& move) {
  thread_local std::vector<T> moved;
  const auto height = static_cast<std::ptrdiff_t>(shape.height);
  const auto width = static_cast<std::ptrdiff_t>(shape.width);
  moved.assign(shape.height * shape.width, T(0));
  for (std::ptrdiff_t y = 0; y < height; ++y) {
    if (y - move.down < 0 || y - move.down >= height) continue;
    const T* const from = plane + (y - move.down) * width;
    T* const to = moved.data() + y * width;
    for (std::ptrdiff_t x = 0; x < width; ++x) {
      const std::ptrdiff_t source = x - move.right;
      if (source < 0 || source >= width) continue;
      to[x] = from[move.flip ? width - 1 - source : source];
    }
  }
  return moved.data();
}

}  // namespace muster
