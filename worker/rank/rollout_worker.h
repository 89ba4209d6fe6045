// A rollout worker: a process of a job beside its ranks that collects rollouts for them.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "base/status.h"
#include "collectives/rendezvous.h"
#include "trainer/rl/ppo_options.h"

namespace muster::rank {

struct RolloutWorkerOptions {
  std::string worker;        // For the learner's log.
  std::uint32_t rank = 0;    // Likewise.
  std::size_t learners = 1;  // Ranks of the attempt, whose invitations the rendezvous has.
  std::size_t threads = 1;   // That collect.
  // After each task, one call at a time; may be empty.
  std::function<void(std::uint64_t tasks_done)> done{};
};

// Attends every learner and does what it is asked to, until `stop`; a connection that breaks is
// made again. Errors are the options' own: the environment, the policy.
Status CollectRollouts(const rl::PpoOptions& options, const RolloutWorkerOptions& worker,
                       Rendezvous& rendezvous, const std::atomic<bool>& stop);

}  // namespace muster::rank
