// Pictures of at most 256 colours, for formats that have no more.
#pragma once

#include <cstdint>
#include <vector>

#include "envs/image.h"

namespace muster::envs {

// A picture as indices into at most 256 colours.
struct IndexedImage {
  std::vector<Color> palette;         // 1 to 256 colours, ascending.
  std::vector<std::uint8_t> indices;  // [height, width]
};

// Exact where `image` has at most 256 colours; otherwise by median cut (Heckbert, "Color image
// quantization for frame buffer display", SIGGRAPH 1982), each pixel the mean of its box, without
// dithering. Depends on the pixels alone. The image must have pixels.
IndexedImage IndexColors(const Image& image);

}  // namespace muster::envs
