#include "envs/gif.h"

#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>

#include "base/check.h"
#include "base/file.h"

namespace muster::envs {
namespace {

constexpr std::size_t kColorsMax = 256;  // Of GIF's palettes.

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

struct Part {
  std::size_t left = 0, top = 0, width = 0, height = 0;
};

// The smallest rectangle that holds all pixels that differ; one pixel where none does.
Part Changed(const Image& before, const Image& now) {
  std::size_t left = now.width, right = 0, top = now.height, bottom = 0;
  for (std::size_t y = 0; y < now.height; ++y) {
    const auto row = static_cast<std::ptrdiff_t>(3 * y * now.width);
    const auto from = now.rgb.begin() + row, to = from + static_cast<std::ptrdiff_t>(3 * now.width);
    const auto first = std::mismatch(from, to, before.rgb.begin() + row).first;
    if (first == to) continue;
    std::size_t last = now.width - 1;
    while (PixelAt(now, y * now.width + last) == PixelAt(before, y * now.width + last)) --last;
    left = std::min(left, static_cast<std::size_t>(first - from) / 3);
    right = std::max(right, last + 1);
    top = std::min(top, y);
    bottom = y + 1;
  }
  if (bottom == 0) return {0, 0, 1, 1};
  return {left, top, right - left, bottom - top};
}

Image Cropped(const Image& image, const Part& part) {
  Image cropped(part.width, part.height);
  for (std::size_t y = 0; y < part.height; ++y) {
    const std::size_t from = 3 * ((part.top + y) * image.width + part.left);
    std::copy_n(image.rgb.begin() + static_cast<std::ptrdiff_t>(from), 3 * part.width,
                cropped.rgb.begin() + static_cast<std::ptrdiff_t>(3 * y * part.width));
  }
  return cropped;
}

// giflib's map, of a power of two colours; the rest is black.
struct FreeMap {
  void operator()(ColorMapObject* map) const { GifFreeMapObject(map); }
};
using ColorMap = std::unique_ptr<ColorMapObject, FreeMap>;

ColorMap MapOf(const std::vector<Color>& palette) {
  int size = 2;
  while (size < static_cast<int>(palette.size())) size *= 2;
  std::vector<GifColorType> colors(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < palette.size(); ++i) {
    colors[i] = {palette[i][0], palette[i][1], palette[i][2]};
  }
  ColorMap map(GifMakeMapObject(size, colors.data()));
  MUSTER_CHECK(map != nullptr, "no memory for a palette");
  return map;
}

int Append(GifFileType* file, const GifByteType* bytes, int size) {
  static_cast<std::string*>(file->UserData)
      ->append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  return size;
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

struct GifWriter::Parts {
  GifFileType* file = nullptr;
  std::string bytes;
  Image last;
  std::vector<Color> palette;  // That of the first frame stands for all that share it.
  std::size_t frames = 0;
  bool finished = false;

  // What giflib answers. Writing into memory fails only where there is none.
  void Check(int answer) const { MUSTER_CHECK(answer == GIF_OK, GifErrorString(file->Error)); }

  void Begin(const Image& image);
  void Put(const Image& part, const Part& where, unsigned delay_ms);
};

void GifWriter::Parts::Begin(const Image& image) {
  int error = 0;
  file = EGifOpen(&bytes, Append, &error);
  MUSTER_CHECK(file != nullptr, "giflib does not open");
  EGifSetGifVersion(file, /*gif89=*/true);
  palette = IndexColors(image).palette;
  const ColorMap map = MapOf(palette);
  Check(EGifPutScreenDesc(file, static_cast<int>(image.width), static_cast<int>(image.height), 8, 0,
                          map.get()));
  constexpr std::array<GifByteType, 3> kForEver = {1, 0, 0};
  Check(EGifPutExtensionLeader(file, APPLICATION_EXT_FUNC_CODE));
  Check(EGifPutExtensionBlock(file, 11, "NETSCAPE2.0"));
  Check(EGifPutExtensionBlock(file, kForEver.size(), kForEver.data()));
  Check(EGifPutExtensionTrailer(file));
}

void GifWriter::Parts::Put(const Image& part, const Part& where, unsigned delay_ms) {
  const auto hundredths = static_cast<unsigned>(
      std::clamp((std::uint64_t{delay_ms} + 5) / 10, std::uint64_t{2}, std::uint64_t{65'535}));
  // Left where it is for the next frame, which is drawn over it; nothing is transparent.
  const std::array<GifByteType, 4> control = {DISPOSE_DO_NOT << 2U,
                                              static_cast<GifByteType>(hundredths),
                                              static_cast<GifByteType>(hundredths >> 8U), 0};
  Check(EGifPutExtension(file, GRAPHICS_EXT_FUNC_CODE, control.size(), control.data()));

  IndexedImage indexed = IndexColors(part);
  ColorMap own;
  if (std::includes(palette.begin(), palette.end(), indexed.palette.begin(),
                    indexed.palette.end())) {
    for (std::uint8_t& index : indexed.indices) {
      const Color color = indexed.palette[index];
      index = static_cast<std::uint8_t>(std::lower_bound(palette.begin(), palette.end(), color) -
                                        palette.begin());
    }
  } else {
    own = MapOf(indexed.palette);
  }
  Check(EGifPutImageDesc(file, static_cast<int>(where.left), static_cast<int>(where.top),
                         static_cast<int>(where.width), static_cast<int>(where.height),
                         /*interlace=*/false, own.get()));
  for (std::size_t y = 0; y < where.height; ++y) {
    Check(
        EGifPutLine(file, indexed.indices.data() + y * where.width, static_cast<int>(where.width)));
  }
}

GifWriter::GifWriter() : parts_(std::make_unique<Parts>()) {}

GifWriter::~GifWriter() {
  int error = 0;
  if (parts_->file != nullptr) EGifCloseFile(parts_->file, &error);
}

std::size_t GifWriter::frames() const { return parts_->frames; }

Status GifWriter::Add(const Image& image, unsigned delay_ms) {
  MUSTER_CHECK(!parts_->finished, "a frame after the end of a GIF");
  const auto size = [](const Image& one) {
    return std::to_string(one.width) + " x " + std::to_string(one.height) + " pixels";
  };
  constexpr std::size_t kSideMax = 65'535;
  if (image.width == 0 || image.height == 0) return InvalidArgument("a picture without pixels");
  if (image.width > kSideMax || image.height > kSideMax) {
    return InvalidArgument("a picture of " + size(image) + "; a GIF has at most 65,535 a side");
  }
  const bool first = parts_->frames == 0;
  const Image& last = parts_->last;
  if (!first && (last.width != image.width || last.height != image.height)) {
    return InvalidArgument("picture " + std::to_string(parts_->frames + 1) + " has " + size(image) +
                           ", those before it " + size(last));
  }
  if (first) parts_->Begin(image);
  const Part part = first ? Part{0, 0, image.width, image.height} : Changed(last, image);
  parts_->Put(first ? image : Cropped(image, part), part, delay_ms);
  parts_->last = image;
  ++parts_->frames;
  return {};
}

Result<std::string> GifWriter::Finish() {
  if (parts_->frames == 0) return FailedPrecondition("a GIF without a picture");
  if (!parts_->finished) {
    int error = 0;
    MUSTER_CHECK(EGifCloseFile(parts_->file, &error) == GIF_OK, GifErrorString(error));
    parts_->file = nullptr;
    parts_->finished = true;
  }
  return parts_->bytes;
}

Status GifWriter::Write(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(const std::string bytes, Finish());
  return WriteFileAtomically(path, bytes);
}

}  // namespace muster::envs
