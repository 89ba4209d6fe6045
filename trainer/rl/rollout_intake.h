// RolloutIntake: what a rank of an asynchronous job trains on. Others collect its lanes' rollouts
// and run ahead of it; each update takes the oldest of those that have come, from whichever lanes,
// so that nobody waits for the slowest. None is of a policy that lags by more than the bound: such
// a one is dropped, and its lane goes on with a newer policy.
//
// A lane may be at most `lag_max` rollouts ahead, collected or asked for: what an update does not
// take is then young enough for a later one, as long as collecting keeps up with training.
//
// Source: Espeholt et al., "IMPALA", arXiv:1802.01561, section 3, whose actors run ahead of the
// learner in the same way; a bounded lag as in OpenAI, "Dota 2 with large scale deep reinforcement
// learning", arXiv:1912.06680, section 4.5 (staleness).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "base/status.h"
#include "trainer/rl/policy.h"
#include "trainer/rl/ppo_options.h"
#include "trainer/rl/ppo_state.h"
#include "trainer/rl/remote_rollouts.h"

namespace muster::rl {

class RolloutIntake {
 public:
  // What the rank itself can do, and what time it is.
  struct Rank {
    // One rollout of each of these local lanes by the policy as it is, to the end of its `pending`.
    std::function<Status(std::span<const std::size_t> local_lanes)> collect;
    std::function<double()> now_ms;  // Of a clock that does not go back.
    // May change what others bring; an error = it is no good. May be empty.
    std::function<Status(Trajectory& trajectory)> receive{};
  };

  // The rank itself collects when nothing has come for four times what that took when it did so
  // last, but for no less and no more than this: the other ranks wait for it.
  static constexpr double kPatienceMs = 2'000, kPatienceMostMs = 10'000;

  // `lanes`, this rank's, begin at `first_lane` of the job's; what is pending there counts as come.
  // `remote` null: the rank collects all. All references must outlive it.
  RolloutIntake(const PpoOptions& options, const Policy& policy, std::vector<PpoState::Lane>& lanes,
                std::size_t first_lane, RemoteRollouts* remote, Rank rank);

  // Waits for as many rollouts as there are lanes, none older than version - max_policy_lag, and
  // moves them to `batch` [lanes], the oldest first. RemoteRollouts has the policy of this version
  // already. Errors are those of the rank's own collecting, and kDataLoss for a lane's state.
  Status Take(std::uint64_t version, std::vector<Trajectory>& batch);

  // Since the beginning: rollouts that were too old, or damaged; that the rank collected itself.
  std::uint64_t dropped() const { return dropped_; }
  std::uint64_t collected_here() const { return collected_here_; }

 private:
  void AskAhead();
  void DropOlder(std::uint64_t version);
  bool TakeArrivals(std::uint64_t version, double most_ms);
  bool TakeOne(const RolloutResult& result, std::uint64_t version, std::size_t local);
  bool Awaits() const;
  Status CollectHere(std::size_t rollouts);
  void TakeBack(std::size_t local);

  const PpoOptions& options_;
  const Policy& policy_;
  std::vector<PpoState::Lane>& lanes_;
  const std::size_t first_lane_;
  RemoteRollouts* const remote_;
  const Rank rank_;

  struct Ahead {
    bool elsewhere = false;  // Has a task, whose state is newer than the lane's.
    std::size_t asked = 0;   // Of it, that have not come.
  };
  std::vector<Ahead> ahead_;      // [local lanes]
  std::deque<std::size_t> come_;  // Local lanes of what is pending, in the order that it came.
  double patience_ms_ = kPatienceMs;
  std::uint64_t dropped_ = 0, collected_here_ = 0;
};

}  // namespace muster::rl
