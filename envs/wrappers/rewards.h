// Wrappers that change rewards, and the statistics of episodes before they do.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "envs/vector_env.h"
#include "envs/wrappers/moments.h"

namespace muster::envs {

// Rewards beyond `low`..`high` become these.
Result<std::unique_ptr<VectorEnv>> ClipRewards(std::unique_ptr<VectorEnv> inner, double low,
                                               double high);

// -1, 0 or 1. Source: Mnih et al., 2015 (how Atari games are made alike).
std::unique_ptr<VectorEnv> SignRewards(std::unique_ptr<VectorEnv> inner);

struct RewardNormalization {
  double discount = 0.99;
  double epsilon = 1e-8;
  double limit = 10;  // The result is clipped to -limit..limit.
};

// Divides rewards by the deviation of the discounted return so far, G = r + discount * G, which
// begins at 0 with each episode; no mean is taken off. The moments are the trainer's, as those of
// observations (observations.h). Source: detail 8 for continuous actions of Huang et al., 2022,
// with returns that end with their episodes.
std::unique_ptr<VectorEnv> NormalizeRewards(std::unique_ptr<VectorEnv> inner,
                                            const RewardNormalization& options,
                                            Normalizer** normalizer);

struct FinishedEpisode {
  std::size_t env = 0;
  double episode_return = 0;  // Undiscounted, of the rewards that come in.
  std::uint64_t length = 0;   // Steps.
};

// What wrapped environments lived through; put it inside of wrappers that change rewards.
class EpisodeStatistics {
 public:
  virtual ~EpisodeStatistics() = default;
  // Episodes that ended since the last call, by the step they ended in, then by environment.
  virtual std::vector<FinishedEpisode> TakeFinished() = 0;
};

// `statistics` gets the other face of the result and lives as long. Running episodes are part of a
// saved state; finished ones that nobody took are not.
std::unique_ptr<VectorEnv> CountEpisodes(std::unique_ptr<VectorEnv> inner,
                                         EpisodeStatistics** statistics);

}  // namespace muster::envs
