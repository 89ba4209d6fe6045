#include "trainer/rl/episode_recorder.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace muster::rl {
namespace {

constexpr double kFrames = 60;
constexpr std::size_t kFramesMax = 120;  // Of an episode that is longer than was expected.
constexpr std::size_t kSideMax = 256;
constexpr std::size_t kBytesMax = std::size_t{4} << 20U;
constexpr unsigned kEndMs = 1'000;

}  // namespace

EpisodeRecorder::EpisodeRecorder(const envs::EnvSpec& spec, double steps) {
  const double expected = std::clamp(steps, 1.0, static_cast<double>(kRecordedStepsMax));
  stride_ = static_cast<std::uint64_t>(std::ceil(expected / kFrames));
  const bool choices = spec.observation.kind != envs::SpaceKind::kBox;
  frame_ms_ = static_cast<unsigned>(std::min<std::uint64_t>((choices ? 250 : 20) * stride_, 250));
}

Status EpisodeRecorder::Add(const envs::Env& env, bool last) {
  const bool due = seen_++ % stride_ == 0 || last;
  if (!due || gif_.frames() >= kFramesMax) return {};
  const envs::Image image = env.RenderImage();
  if (image.width == 0 || image.height == 0) return {};
  return gif_.Add(Shrunk(image, kSideMax), last ? std::max(frame_ms_, kEndMs) : frame_ms_);
}

Result<std::string> EpisodeRecorder::Finish() {
  if (gif_.frames() == 0) return std::string();
  MUSTER_ASSIGN_OR_RETURN(std::string bytes, gif_.Finish());
  if (bytes.size() <= kBytesMax) return bytes;
  return Status(StatusCode::kResourceExhausted,
                "its pictures take " + std::to_string(bytes.size()) + " bytes; the most is " +
                    std::to_string(kBytesMax));
}

envs::Image Shrunk(const envs::Image& image, std::size_t side_max) {
  const std::size_t longest = std::max(image.width, image.height);
  const std::size_t factor =
      std::min((longest + side_max - 1) / side_max, std::min(image.width, image.height));
  if (factor <= 1) return image;
  envs::Image small(image.width / factor, image.height / factor);
  const auto count = static_cast<std::uint32_t>(factor * factor);
  for (std::size_t y = 0; y < small.height; ++y) {
    for (std::size_t x = 0; x < small.width; ++x) {
      std::array<std::uint32_t, 3> sums{};
      for (std::size_t row = y * factor; row < (y + 1) * factor; ++row) {
        const std::uint8_t* from = image.rgb.data() + 3 * (row * image.width + x * factor);
        for (std::size_t i = 0; i < 3 * factor; i += 3) {
          for (std::size_t c = 0; c < 3; ++c) sums[c] += from[i + c];
        }
      }
      std::uint8_t* to = small.rgb.data() + 3 * (y * small.width + x);
      for (std::size_t c = 0; c < 3; ++c) {
        to[c] = static_cast<std::uint8_t>((sums[c] + count / 2) / count);
      }
    }
  }
  return small;
}

}  // namespace muster::rl
