// What a policy's actions were worth, from rewards and the critic's values.
//
// Episodes that were cut short (truncated) go on in the critic's eyes: the value of their final
// observation stands for what would have come. Those that ended by themselves (terminated) do not.
// Where both flags are set the episode ended by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace muster::rl {

// `steps` of `envs` environments, [steps, envs] each, by time: row t is what happened between
// observation t and the next one.
struct RolloutView {
  std::size_t steps = 0;
  std::size_t envs = 0;
  std::span<const float> rewards;
  std::span<const float> values;  // Of the observation that was acted on.
  std::span<const std::uint8_t> terminated;
  std::span<const std::uint8_t> truncated;
  std::span<const float> final_values;  // Of the final observation; read where truncated alone.
  std::span<const float> last_values;   // [envs]: of the observation after the last step.
};

struct GaeOptions {
  float gamma = 0.99F;   // Discount, [0, 1].
  float lambda = 0.95F;  // [0, 1]: 0 = one step's surprise, 1 = the whole return.
};

// Generalised advantage estimation: Schulman et al., arXiv:1506.02438, equations 11 and 16.
// Writes advantages and returns = advantages + values, the critic's targets (TD(lambda));
// [steps, envs] both. An environment's row of numbers depends on no other environment.
void Gae(const RolloutView& rollout, const GaeOptions& options, std::span<float> advantages,
         std::span<float> returns);

struct VTraceOptions {
  float gamma = 0.99F;
  float lambda = 1;   // Of the traces.
  float rho_max = 1;  // Above which a ratio no longer moves the values' fixed point ("rho bar").
  float c_max = 1;    // Above which it no longer carries surprises back ("c bar").
};

// V-trace: Espeholt et al., arXiv:1802.01561, section 4.1, for rollouts of an older policy.
// `ratios` [steps, envs]: probability of the action under the policy that is trained to that under
// the one that acted. Writes the critic's targets v_s, and the advantages
// rho_s (r_s + gamma v_{s+1} - V(x_s)) of the policy gradient. With ratios of 1, rho_max and c_max
// of at least 1 the targets are Gae's returns.
void VTrace(const RolloutView& rollout, std::span<const float> ratios, const VTraceOptions& options,
            std::span<float> advantages, std::span<float> targets);

}  // namespace muster::rl
