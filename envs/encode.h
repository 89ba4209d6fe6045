// Observations as the numbers that networks take in.
#pragma once

#include <span>

#include "envs/space.h"

namespace muster::envs {

// How many numbers an observation of this space becomes: its elements, or for choices as many as
// there are in all.
std::size_t FeaturesOf(const Space& space);

// Boxes as they are, pictures (uint8) divided by 255, choices one-hot, several one after the other.
// `observations` may hold many; `features` [observations, FeaturesOf(space)].
void Encode(const Space& space, ConstValues observations, std::span<float> features);

}  // namespace muster::envs
