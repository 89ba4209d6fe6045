// An episode as an animated GIF that is small enough to come with every job.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/status.h"
#include "envs/env.h"
#include "envs/gif.h"

namespace muster::rl {

// How it is called beside a checkpoint.
inline constexpr const char* kEpisodeFile = "episode.gif";
// Longer episodes are cut there.
inline constexpr std::uint64_t kRecordedStepsMax = 2'000;

// About 60 pictures of an episode, evenly spaced and at most 256 pixels a side, whatever the
// environment draws: what a job spends on it does not grow with its episodes. Only looks.
class EpisodeRecorder {
 public:
  // `steps` that the episode is expected to have.
  EpisodeRecorder(const envs::EnvSpec& spec, double steps);

  // After the reset and after every step. `last`: there are no more.
  Status Add(const envs::Env& env, bool last);

  // The file; empty where the environment draws nothing. kResourceExhausted for more than 4 MiB.
  Result<std::string> Finish();

 private:
  std::uint64_t stride_ = 1;  // Steps from one picture to the next.
  unsigned frame_ms_ = 0;
  std::uint64_t seen_ = 0;
  envs::GifWriter gif_;
};

// The picture with its sides divided by the smallest whole number for which neither is longer than
// `side_max`; each pixel the mean of those it stands for, which are cut off at the edges.
envs::Image Shrunk(const envs::Image& image, std::size_t side_max);

}  // namespace muster::rl
