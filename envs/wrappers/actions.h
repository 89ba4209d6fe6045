// Wrappers that change what a policy's actions do.
#pragma once

#include <memory>

#include "envs/vector_env.h"

namespace muster::envs {

// Box actions beyond the bounds become the bounds; the policy's own numbers stay as they are where
// it stored them. The action space then has no bounds. Source: Gymnasium's ClipAction.
// kInvalidArgument unless actions are a float box.
Result<std::unique_ptr<VectorEnv>> ClipActions(std::unique_ptr<VectorEnv> inner);

// Actions in -1..1 are stretched to the bounds of the box, which must be finite; what lies beyond
// is stretched too. Source: Gymnasium's RescaleAction.
Result<std::unique_ptr<VectorEnv>> ScaleActions(std::unique_ptr<VectorEnv> inner);

// With this probability an environment takes its previous action again (the one it took, not the
// one that was asked for); never in an episode's first step. Source: Machado et al., "Revisiting
// the Arcade Learning Environment", JAIR 2018, section 5.2. Draws from Philox keyed by the seed of
// the environment's reset, by number of step, so the environment's own draws stay what they are.
Result<std::unique_ptr<VectorEnv>> StickyActions(std::unique_ptr<VectorEnv> inner,
                                                 double probability);

}  // namespace muster::envs
