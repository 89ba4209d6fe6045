#include "trainer/rl/behavior_policies.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace muster::rl {
namespace {

// At once, in whole steps of all environments; how many changes no bit.
constexpr std::size_t kRows = 512;

}  // namespace

void BehaviorPolicies::Keep(std::uint64_t version, std::span<const float> values,
                            std::uint64_t oldest) {
  kept_.erase(kept_.begin(), kept_.lower_bound(oldest));
  kept_[version].assign(values.begin(), values.end());
}

Status BehaviorPolicies::Recompute(Trajectory& trajectory) {
  const auto found = kept_.find(trajectory.version);
  if (found == kept_.end()) {
    return NotFound("no policy of version " + std::to_string(trajectory.version) + " acts");
  }
  const std::size_t envs = trajectory.envs, width = policy_.features();
  std::vector<float> memory = trajectory.memory, after;
  std::vector<std::uint8_t> starts;
  const std::size_t at_once = std::max<std::size_t>(kRows / envs, 1) * envs;
  for (std::size_t at = 0; at < trajectory.rows(); at += at_once) {
    const std::size_t rows = std::min(at_once, trajectory.rows() - at);
    starts.assign(rows, 0);  // The memory is that of an episode which begins at row 0.
    for (std::size_t row = at == 0 ? envs : 0; row < rows; ++row) {
      const std::size_t before = at + row - envs;
      starts[row] = trajectory.terminated[before] | trajectory.truncated[before];
    }
    after.resize(rows * policy_.memory());
    Tape& tape = tape_.Begin(found->second);
    const Tensor x = tape.Input({rows, width}, trajectory.features.data() + at * width);
    const Policy::Distribution now =
        policy_.Act(tape, x, policy_.memory() == 0 ? Past{} : Past{memory, starts, after});
    const LogProbsAndEntropy taken = policy_.LogProbs(
        tape, now, PartOf(trajectory.actions, at, rows, policy_.action_elements()));
    for (std::size_t row = 0; row < rows; ++row) {
      float& log_prob = trajectory.log_probs[at + row];
      const float anew = taken.log_probs.data()[row];
      const double apart = std::abs(static_cast<double>(anew) - static_cast<double>(log_prob));
      difference_.largest = std::max(difference_.largest, apart);
      difference_.sum += apart;
      log_prob = anew;
    }
    std::copy(after.end() - static_cast<std::ptrdiff_t>(memory.size()), after.end(),
              memory.begin());
  }
  difference_.actions += static_cast<double>(trajectory.rows());
  return {};
}

}  // namespace muster::rl
