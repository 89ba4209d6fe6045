#include "envs/gif.h"

#include <gif_lib.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/uuid.h"
#include "envs/indexed_image.h"
#include "envs/numpy_random.h"
#include "envs/registry.h"

namespace muster::envs {
namespace {

constexpr Color kRed = {255, 0, 0};

struct Shown {
  Image image;  // What a viewer shows: frames drawn over each other.
  int delay_cs = 0;
  int changed = 0;  // Pixels that the file holds for it.
};

int Take(GifFileType* file, GifByteType* to, int size) {
  auto& rest = *static_cast<std::string_view*>(file->UserData);
  const std::size_t taken = rest.copy(reinterpret_cast<char*>(to), static_cast<std::size_t>(size));
  rest.remove_prefix(taken);
  return static_cast<int>(taken);
}

void DrawOver(Image& canvas, const SavedImage& frame, const ColorMapObject& map) {
  const GifImageDesc& at = frame.ImageDesc;
  for (int y = 0; y < at.Height; ++y) {
    for (int x = 0; x < at.Width; ++x) {
      const int index = frame.RasterBits[y * at.Width + x];
      ASSERT_LT(index, map.ColorCount);
      const GifColorType color = map.Colors[index];
      const auto pixel = static_cast<std::size_t>((at.Top + y)) * canvas.width +
                         static_cast<std::size_t>(at.Left + x);
      canvas.rgb.at(3 * pixel) = color.Red;
      canvas.rgb.at(3 * pixel + 1) = color.Green;
      canvas.rgb.at(3 * pixel + 2) = color.Blue;
    }
  }
}

// Decodes by giflib, as a viewer does.
std::vector<Shown> Decoded(std::string_view bytes) {
  int error = 0;
  GifFileType* file = DGifOpen(&bytes, Take, &error);
  EXPECT_NE(file, nullptr) << GifErrorString(error);
  if (file == nullptr) return {};
  EXPECT_EQ(DGifSlurp(file), GIF_OK) << GifErrorString(file->Error);
  std::vector<Shown> frames;
  Image canvas(static_cast<std::size_t>(file->SWidth), static_cast<std::size_t>(file->SHeight));
  for (int i = 0; i < file->ImageCount; ++i) {
    const SavedImage& frame = file->SavedImages[i];
    const ColorMapObject* own = frame.ImageDesc.ColorMap;
    DrawOver(canvas, frame, own != nullptr ? *own : *file->SColorMap);
    GraphicsControlBlock control{};
    EXPECT_EQ(DGifSavedExtensionToGCB(file, i, &control), GIF_OK);
    EXPECT_EQ(control.TransparentColor, NO_TRANSPARENT_COLOR);
    frames.push_back({canvas, control.DelayTime, frame.ImageDesc.Width * frame.ImageDesc.Height});
  }
  DGifCloseFile(file, &error);
  return frames;
}

// A picture of `colors` colours at most, by chance.
Image Noise(std::size_t width, std::size_t height, unsigned colors, std::uint64_t seed) {
  Image image(width, height);
  NumpyRandom random(seed);
  for (std::size_t i = 0; i < width * height; ++i) {
    const auto color = static_cast<std::uint32_t>(random.Next64() % colors) * 2'654'435'761U;
    for (std::size_t c = 0; c < 3; ++c) {
      image.rgb[3 * i + c] = static_cast<std::uint8_t>(color >> (8 * c));
    }
  }
  return image;
}

std::string Bytes(const std::vector<Image>& frames, unsigned delay_ms = 50) {
  GifWriter gif;
  for (const Image& frame : frames) EXPECT_TRUE(gif.Add(frame, delay_ms).ok());
  EXPECT_EQ(gif.frames(), frames.size());
  return std::move(*gif.Finish());
}

std::string Hex(const std::vector<unsigned char>& bytes) {
  std::ostringstream text;
  for (const unsigned char byte : bytes) text << std::hex << int{byte} << ' ';
  return text.str();
}

// Byte by byte from the specification: two pixels, black and white, for 50 ms. The LZW codes of
// three bits are clear (4), 0, 1, end (5): 4 + 0 * 8 + 1 * 64 + (5 & 1) * 512 ..., that is 44 0A.
TEST(GifTest, WritesTheBytesOfTheSpecification) {
  Image image(2, 1, kBlack);
  image.Rectangle({1, 0}, {2, 1}, kWhite);
  const std::vector<unsigned char> expected = {
      'G',  'I',  'F',  '8',  '9',  'a',      // Signature.
      2,    0,    1,    0,    0xF0, 0,    0,  // Screen, 2 colours follow.
      0,    0,    0,    255,  255,  255,      // Black, white.
      0x21, 0xFF, 11,   'N',  'E',  'T',  'S',  'C', 'A',  'P', 'E', '2', '.', '0',
      3,    1,    0,    0,    0,    0x21, 0xF9, 4,   0x04, 5,   0,   0,   0,  // Keep; 5 hundredths.
      0x2C, 0,    0,    0,    0,    2,    0,    1,   0,    0,                 // The frame, whole.
      2,    2,    0x44, 0x0A, 0,  // Codes from 3 bits on.
      0x3B};
  const std::string bytes = Bytes({image});
  EXPECT_EQ(Hex({bytes.begin(), bytes.end()}), Hex(expected));
}

TEST(GifTest, GivesBackEveryPixelOfFewColors) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    std::vector<Image> frames;
    for (std::uint64_t i = 0; i < 4; ++i) {
      frames.push_back(Noise(1 + seed * 3, 1 + seed, static_cast<unsigned>(1 + 13 * seed), i));
    }
    frames.push_back(frames.back());  // Nothing changes.
    const std::vector<Shown> shown = Decoded(Bytes(frames));
    ASSERT_EQ(shown.size(), frames.size());
    for (std::size_t i = 0; i < frames.size(); ++i) EXPECT_EQ(shown[i].image.rgb, frames[i].rgb);
    EXPECT_EQ(shown.back().changed, 1);
    EXPECT_EQ(Bytes(frames), Bytes(frames));
  }
}

TEST(GifTest, HoldsOnlyWhatHasChanged) {
  Image image(40, 30);
  std::vector<Image> frames = {image};
  image.Rectangle({10, 5}, {14, 8}, kRed);  // A colour that the first palette has not.
  frames.push_back(image);
  const std::vector<Shown> shown = Decoded(Bytes(frames));
  ASSERT_EQ(shown.size(), 2U);
  EXPECT_EQ(shown[0].changed, 40 * 30);
  EXPECT_EQ(shown[1].changed, 4 * 3);
  EXPECT_EQ(shown[1].image.rgb, image.rgb);
}

TEST(GifTest, RoundsDelaysToHundredthsAndKeepsThemShowable) {
  GifWriter gif;
  const Image image(1, 1);
  for (const unsigned delay_ms : {0U, 33U, 45U, 1'000'000U}) {
    ASSERT_TRUE(gif.Add(image, delay_ms).ok());
  }
  std::vector<int> delays;
  for (const Shown& one : Decoded(*gif.Finish())) delays.push_back(one.delay_cs);
  EXPECT_EQ(delays, (std::vector<int>{2, 3, 5, 65'535}));
}

// A ramp of 4,096 greys-and-blues: 256 boxes of neighbours, so that nothing is off by much.
TEST(GifTest, ManyColorsBecomeTheNearestThatThereAre) {
  Image image(64, 64);
  for (std::size_t i = 0; i < 4'096; ++i) {
    image.rgb[3 * i] = static_cast<std::uint8_t>(i / 64 * 4);
    image.rgb[3 * i + 1] = 77;
    image.rgb[3 * i + 2] = static_cast<std::uint8_t>(i % 64 * 4);
  }
  const IndexedImage indexed = IndexColors(image);
  ASSERT_EQ(indexed.palette.size(), 256U);
  const std::vector<Shown> shown = Decoded(Bytes({image}));
  ASSERT_EQ(shown.size(), 1U);
  for (std::size_t i = 0; i < image.rgb.size(); ++i) {
    ASSERT_EQ(shown[0].image.rgb[i], indexed.palette[indexed.indices[i / 3]][i % 3]);
    ASSERT_NEAR(shown[0].image.rgb[i], image.rgb[i], 8) << "byte " << i;
  }
}

TEST(GifTest, AnyNumberOfColorsFits) {
  for (const unsigned colors : {2U, 255U, 256U, 257U, 300U, 100'000U}) {
    SCOPED_TRACE(colors);
    const Image image = Noise(100, 100, colors, colors);
    std::set<Color> seen;
    for (std::size_t i = 0; i < 10'000; ++i) seen.insert(image.At(i % 100, i / 100));
    const IndexedImage indexed = IndexColors(image);
    EXPECT_LE(indexed.palette.size(), 256U);
    if (seen.size() <= 256) {
      EXPECT_EQ(indexed.palette.size(), seen.size());
      EXPECT_EQ(Decoded(Bytes({image}))[0].image.rgb, image.rgb);
    }
  }
}

TEST(GifTest, RefusesWhatIsNoPicture) {
  GifWriter gif;
  EXPECT_EQ(gif.Finish().status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(gif.Add(Image(), 50).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(gif.Add(Image(70'000, 1), 50).code(), StatusCode::kInvalidArgument);
  ASSERT_TRUE(gif.Add(Image(3, 2), 50).ok());
  const Status other = gif.Add(Image(2, 3), 50);
  EXPECT_EQ(other.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(other.message(), "picture 2 has 2 x 3 pixels, those before it 3 x 2 pixels");
  EXPECT_EQ(Decoded(*gif.Finish()).size(), 1U);  // What was refused has left no trace.
}

TEST(GifTest, ReplacesItsFileOrSaysWhichItCannotWrite) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("muster-test-" + NewUuid());
  std::filesystem::create_directories(folder);
  const std::string path = folder / "a.gif";
  for (const Color color : {kWhite, kRed}) {
    GifWriter gif;
    ASSERT_TRUE(gif.Add(Image(4, 4, color), 50).ok());
    ASSERT_TRUE(gif.Write(path).ok());
  }
  EXPECT_EQ(Decoded(*ReadFile(path))[0].image.At(3, 3), kRed);
  GifWriter gif;
  ASSERT_TRUE(gif.Add(Image(4, 4), 50).ok());
  const Status none = gif.Write(folder / "no" / "b.gif");
  EXPECT_FALSE(none.ok());
  EXPECT_NE(none.message().find("no/b.gif"), std::string::npos) << none.message();
  std::filesystem::remove_all(folder);
}

TEST(GifTest, ShowsWhatAnEnvironmentDraws) {
  for (const char* name : {"CartPole-v1", "FrozenLake-v1", "Taxi-v4"}) {
    SCOPED_TRACE(name);
    const auto env = std::move(*MakeEnv(name));
    ASSERT_TRUE(env->Reset(3).ok());
    std::vector<Image> frames = {env->RenderImage()};
    ASSERT_TRUE(env->Step(std::vector<std::int32_t>{1}).ok());
    frames.push_back(env->RenderImage());
    const std::vector<Shown> shown = Decoded(Bytes(frames));
    ASSERT_EQ(shown.size(), 2U);
    EXPECT_EQ(shown[0].image.rgb, frames[0].rgb);
    EXPECT_EQ(shown[1].image.rgb, frames[1].rgb);
  }
}

}  // namespace
}  // namespace muster::envs
