// PpoState: all of a PPO job that outlives an update, and its checkpoint.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "collectives/group.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/model_state.h"
#include "trainer/rl/policy_evaluation.h"
#include "trainer/rl/ppo_options.h"
#include "trainer/rl/rollout.h"

namespace muster::rl {

class PpoState {
 public:
  // Values from the seed; this rank's lanes begin at `first_lane`. `policy` must outlive it.
  static Result<std::unique_ptr<PpoState>> Create(const PpoOptions& options, const Policy& policy,
                                                  std::size_t first_lane, std::size_t local_lanes);

  ModelState model;
  struct Lane {
    std::unique_ptr<LaneEnvs> envs;
    // Where the lane stands if somebody else has collected for it since; `envs` is older then.
    std::optional<std::string> remote_state = std::nullopt;
    // Collected and not yet trained on, oldest first: none between updates unless policies may lag.
    std::deque<Trajectory> pending = {};

    std::string StateBytes() const;
    // `envs` is where the lane stands. kDataLoss where the other side's state is none.
    Status TakeHome();
  };
  std::vector<Lane> lanes;  // This rank's.
  NormalizerMoments moments;
  std::uint64_t update = 0;                    // Updates done.
  std::uint64_t episodes = 0;                  // That ended in training.
  std::optional<PolicyEvaluation> evaluation;  // The latest.
  std::optional<double> best_return;           // Of all evaluations so far.
  std::uint64_t best_update = 0;
  bool reached = false;  // evaluation.stop_at_return.

  // Brings the lanes' states together; before Contents. Collective.
  Status Gather(Group& group);
  // Views into this state until it changes or gathers again.
  CheckpointContents Contents();
  // Takes over a checkpoint. kFailedPrecondition when the recipe is another one, kDataLoss when
  // something is missing or damaged. The state is not to be used then.
  Status Restore(const CheckpointContents& contents);

 private:
  PpoState(const PpoOptions& options, const Policy& policy, std::size_t first_lane);
  static std::string BytesOf(const Lane& lane);  // For a checkpoint.
  Status RestoreLane(std::string_view bytes, Lane& lane) const;
  Status RestoreTrainer(const nlohmann::json& trainer);

  const Policy& policy_;
  const std::size_t rollout_steps_;
  const std::size_t lag_max_;
  nlohmann::json recipe_;
  const std::size_t first_lane_;
  std::vector<std::string> lane_bytes_;  // Of all lanes.
};

}  // namespace muster::rl
