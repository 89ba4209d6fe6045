#include "trainer/rl/episode_recorder.h"

#include <gtest/gtest.h>

#include "envs/registry.h"

namespace muster::rl {
namespace {

using envs::Color;
using envs::Image;

// How many pictures a GIF of giflib's holds: each begins with a graphics control extension.
std::size_t PicturesIn(const std::string& gif) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = gif.find("\x21\xf9\x04\x04", at)) != std::string::npos; ++at) {
    ++count;
  }
  return count;
}

std::pair<std::size_t, std::size_t> SizeOf(const std::string& gif) {
  const auto number = [&gif](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(gif[at])) +
           256 * static_cast<std::size_t>(static_cast<unsigned char>(gif[at + 1]));
  };
  return {number(6), number(8)};
}

// An episode of so many steps of always the same action; it may be over long before.
std::string Recorded(const std::string& name, double expected, int steps,
                     const envs::EnvOptions& options = {}) {
  const auto env = envs::MakeEnv(name, options);
  EXPECT_TRUE(env.ok()) << env.status().message();
  EpisodeRecorder recorder((*env)->spec(), expected);
  EXPECT_TRUE((*env)->Reset(3).ok());
  EXPECT_TRUE(recorder.Add(**env, steps == 0).ok());
  const envs::ValueArray action((*env)->spec().action.dtype, (*env)->spec().action.elements());
  for (int step = 1; step <= steps; ++step) {
    const bool ended = (*env)->Step(action)->ended();
    EXPECT_TRUE(!ended || (*env)->Reset().ok());
    EXPECT_TRUE(recorder.Add(**env, step == steps).ok());
  }
  const auto gif = recorder.Finish();
  EXPECT_TRUE(gif.ok()) << gif.status().message();
  return *gif;
}

TEST(EpisodeRecorderTest, AShortEpisodeHasAPictureAStep) {
  const std::string gif = Recorded("CartPole-v1", 9, 9);
  EXPECT_EQ(gif.rfind("GIF89a", 0), 0U);
  EXPECT_EQ(PicturesIn(gif), 10U);
  EXPECT_EQ(SizeOf(gif), (std::pair<std::size_t, std::size_t>(200, 133)));  // 600 x 400 by 3.
  EXPECT_EQ(Recorded("CartPole-v1", 9, 9), gif);
}

TEST(EpisodeRecorderTest, ALongOneHasAsManyAsAShortOne) {
  // Every ninth step of 500, the first, and the last, which is not one of them.
  EXPECT_EQ(PicturesIn(Recorded("CartPole-v1", 500, 500)), 57U);
  // Longer than expected: it ends with what there is room for.
  EXPECT_EQ(PicturesIn(Recorded("CartPole-v1", 10, 500)), 120U);
  EXPECT_LE(PicturesIn(Recorded("CartPole-v1", 1e9, 500)), 62U);
  EXPECT_EQ(PicturesIn(Recorded("CartPole-v1", 0, 0)), 1U);
}

TEST(EpisodeRecorderTest, WhatDrawsNothingHasNoFile) { EXPECT_EQ(Recorded("Probe1-v0", 5, 5), ""); }

TEST(EpisodeRecorderTest, APixelIsTheMeanOfThoseItStandsFor) {
  Image image(5, 2, {10, 20, 30});
  image.rgb[0] = 13;  // Of the first four pixels (13 + 3 * 10) / 4 = 10.75.
  const Image small = Shrunk(image, 3);
  EXPECT_EQ(small.width, 2U);  // The fifth column is cut off.
  EXPECT_EQ(small.height, 1U);
  EXPECT_EQ(small.At(0, 0), (Color{11, 20, 30}));
  EXPECT_EQ(small.At(1, 0), (Color{10, 20, 30}));
  EXPECT_EQ(Shrunk(image, 5).rgb, image.rgb);
  const Image line(1000, 1, {1, 2, 3});  // Nothing would be left of it.
  EXPECT_EQ(Shrunk(line, 256).width, 1000U);
}

}  // namespace
}  // namespace muster::rl
