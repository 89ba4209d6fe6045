// Random actions: for checks, benchmarks and the start of exploration.
#pragma once

#include "envs/numpy_random.h"
#include "envs/space.h"

namespace muster::envs {

// Writes a uniform value of `space` to `value`, which has its dtype and size. Where a box has no
// bound, a standard normal number beside the bound it has (or around 0).
void Sample(const Space& space, NumpyRandom& random, ValueArray& value);

}  // namespace muster::envs
