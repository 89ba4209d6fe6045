#include "envs/gif.h"

#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "envs/indexed_image.h"

namespace muster::envs {
namespace {

struct ImagePart {
  std::size_t left = 0, top = 0, width = 0, height = 0;
};

// The smallest rectangle that holds all pixels that differ; one pixel where none does.
ImagePart Changed(const Image& before, const Image& now) {
  std::size_t left = now.width, right = 0, top = now.height, bottom = 0;
  for (std::size_t y = 0; y < now.height; ++y) {
    const auto row = static_cast<std::ptrdiff_t>(3 * y * now.width);
    const auto from = now.rgb.begin() + row, to = from + static_cast<std::ptrdiff_t>(3 * now.width);
    const auto first = std::mismatch(from, to, before.rgb.begin() + row).first;
    if (first == to) continue;
    std::size_t last = now.width - 1;
    while (now.At(last, y) == before.At(last, y)) --last;
    left = std::min(left, static_cast<std::size_t>(first - from) / 3);
    right = std::max(right, last + 1);
    top = std::min(top, y);
    bottom = y + 1;
  }
  if (bottom == 0) return {0, 0, 1, 1};
  return {left, top, right - left, bottom - top};
}

Image Cropped(const Image& image, const ImagePart& part) {
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
  void Put(const Image& part, const ImagePart& where, unsigned delay_ms);
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

void GifWriter::Parts::Put(const Image& part, const ImagePart& where, unsigned delay_ms) {
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
  // giflib 5.2 forgets the last frame's own palette where this one has none.
  GifFreeMapObject(std::exchange(file->Image.ColorMap, nullptr));
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
  const ImagePart part = first ? ImagePart{0, 0, image.width, image.height} : Changed(last, image);
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
