// Wrappers that change what a policy sees.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "envs/vector_env.h"
#include "envs/wrappers/moments.h"

namespace muster::envs {

enum class StackAxis : std::uint8_t {
  kFirst,     // A new first one, of frames.
  kChannels,  // Pictures [height, width] or [height, width, c] -> [height, width, c * frames].
};

// Observations become the newest `frames` of them, oldest first; an episode's first one stands for
// those before it. kInvalidArgument for observations that are no box, and where the axis is that of
// channels no picture. Source: Mnih et al., "Human-level control through deep reinforcement
// learning", 2015; Gymnasium's FrameStackObservation, whose axis is the first.
Result<std::unique_ptr<VectorEnv>> StackFrames(std::unique_ptr<VectorEnv> inner, std::size_t frames,
                                               StackAxis axis = StackAxis::kFirst);

// Numbers beyond `low`..`high` become these. Float observations.
Result<std::unique_ptr<VectorEnv>> ClipObservations(std::unique_ptr<VectorEnv> inner, double low,
                                                    double high);

// (x - mean) / sqrt(variance + epsilon), clipped. Float observations. The moments are the
// trainer's: they belong to a policy version and stay as they are while it collects; what comes in
// meanwhile is summed up for the next version (moments.h). Source: detail 8 and 9 for continuous
// actions of Huang et al., "The 37 implementation details of PPO", 2022.
struct NormalizationOptions {
  double epsilon = 1e-8;
  double limit = 10;  // The result is clipped to -limit..limit.
};
// `moments` gets the normalisation's other face; it lives as long as the result.
Result<std::unique_ptr<VectorEnv>> NormalizeObservations(std::unique_ptr<VectorEnv> inner,
                                                         const NormalizationOptions& options,
                                                         Normalizer** normalizer);

}  // namespace muster::envs
