#include "envs/indexed_image.h"

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <utility>

#include "base/check.h"

namespace muster::envs {
namespace {

constexpr std::size_t kColorsMax = 256;  // So that an index is a byte.

using Counted = std::pair<Color, std::uint64_t>;  // A colour, and how many pixels have it.

// Colours that share one entry of the palette.
struct Box {
  std::span<Counted> colors;
  std::size_t channel = 0;  // Where it is widest ...
  int width = 0;            // ... and how wide.

  explicit Box(std::span<Counted> all) : colors(all) {
    for (std::size_t c = 0; c < 3; ++c) {
      const auto [low, high] = std::minmax_element(
          colors.begin(), colors.end(),
          [c](const Counted& a, const Counted& b) { return a.first[c] < b.first[c]; });
      const int range = high->first[c] - low->first[c];
      if (range <= width) continue;
      width = range;
      channel = c;
    }
  }

  std::uint64_t pixels() const {
    std::uint64_t sum = 0;
    for (const Counted& one : colors) sum += one.second;
    return sum;
  }

  Color Mean() const {
    std::array<std::uint64_t, 3> sum{};
    for (const auto& [color, count] : colors) {
      for (std::size_t c = 0; c < 3; ++c) sum[c] += color[c] * count;
    }
    const std::uint64_t count = pixels();
    Color mean{};
    for (std::size_t c = 0; c < 3; ++c) {
      mean[c] = static_cast<std::uint8_t>((sum[c] + count / 2) / count);
    }
    return mean;
  }

  // Where half of its pixels lie on either side, neither of them empty.
  std::size_t Median() {
    std::sort(colors.begin(), colors.end(), [c = channel](const Counted& a, const Counted& b) {
      return a.first[c] != b.first[c] ? a.first[c] < b.first[c] : a.first < b.first;
    });
    const std::uint64_t half = pixels() / 2;
    std::uint64_t before = 0;
    std::size_t at = 0;
    while (at + 1 < colors.size() && before + colors[at].second <= half) {
      before += colors[at++].second;
    }
    return std::max<std::size_t>(at, 1);
  }
};

// What each colour becomes; `counted` loses its order.
std::map<Color, Color> MedianCut(std::vector<Counted>& counted) {
  std::vector<Box> boxes = {Box(counted)};
  while (boxes.size() < kColorsMax) {
    const auto widest = std::max_element(
        boxes.begin(), boxes.end(), [](const Box& a, const Box& b) { return a.width < b.width; });
    if (widest->width == 0) break;
    const std::size_t median = widest->Median();
    const std::span<Counted> colors = widest->colors;
    *widest = Box(colors.first(median));
    boxes.emplace_back(colors.subspan(median));
  }
  std::map<Color, Color> becomes;
  for (const Box& box : boxes) {
    const Color mean = box.Mean();
    for (const Counted& one : box.colors) becomes[one.first] = mean;
  }
  return becomes;
}

Color PixelAt(const Image& image, std::size_t i) {
  return {image.rgb[3 * i], image.rgb[3 * i + 1], image.rgb[3 * i + 2]};
}

}  // namespace

IndexedImage IndexColors(const Image& image) {
  const std::size_t pixels = image.width * image.height;
  MUSTER_CHECK(pixels > 0 && image.rgb.size() == 3 * pixels, "an image without pixels");
  // Pictures have large areas of one colour: runs of it are few.
  std::vector<Counted> runs;
  for (std::size_t i = 0; i < pixels; ++i) {
    const Color color = PixelAt(image, i);
    if (runs.empty() || runs.back().first != color) runs.emplace_back(color, 0);
    ++runs.back().second;
  }
  std::vector<Counted> counted = runs;
  std::sort(counted.begin(), counted.end());
  std::size_t kept = 0;
  for (const Counted& run : counted) {
    if (kept > 0 && counted[kept - 1].first == run.first) {
      counted[kept - 1].second += run.second;
    } else {
      counted[kept++] = run;
    }
  }
  counted.resize(kept);
  std::map<Color, Color> becomes;
  if (counted.size() > kColorsMax) {
    becomes = MedianCut(counted);
  } else {
    for (const Counted& one : counted) becomes[one.first] = one.first;
  }
  IndexedImage indexed;
  for (const auto& [from, to] : becomes) indexed.palette.push_back(to);
  std::vector<Color>& palette = indexed.palette;
  std::sort(palette.begin(), palette.end());
  palette.erase(std::unique(palette.begin(), palette.end()), palette.end());
  indexed.indices.reserve(pixels);
  for (const auto& [color, count] : runs) {
    const auto at = std::lower_bound(palette.begin(), palette.end(), becomes[color]);
    indexed.indices.insert(indexed.indices.end(), count,
                           static_cast<std::uint8_t>(at - palette.begin()));
  }
  return indexed;
}

}  // namespace muster::envs
