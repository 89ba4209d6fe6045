// Truncates episodes after a number of steps.
// Source: Gymnasium's TimeLimit. Batches of classic control do the same by themselves.
#pragma once

#include <memory>

#include "envs/env.h"

namespace muster::envs {

// After `steps_max` steps an episode is truncated; its last step may be terminated as well. 0 takes
// the limit away (`env` must not be limited yet). The spec tells the limit.
std::unique_ptr<Env> LimitTime(std::unique_ptr<Env> env, std::size_t steps_max);

}  // namespace muster::envs
