// A job whose rollouts others may collect, and who does.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "collectives/rendezvous.h"
#include "trainer/rl/ppo_options.h"
#include "worker/rank/rollout_worker.h"

namespace muster::test {

inline rl::PpoOptions RolloutJob(std::size_t lag) {
  rl::PpoOptions options;
  options.environment.name = "CartPole-v1";
  options.environment.normalize_observations = true;
  options.policy.hidden = {32};
  options.envs = 16;
  options.rollout_steps = 32;
  options.total_steps = 60 * options.batch_size();
  options.lanes = 4;
  options.seed = 5;
  options.minibatches = 2;
  options.max_policy_lag = lag;
  return options;
}

// A worker as threads of this process.
class Worker {
 public:
  Worker(const rl::PpoOptions& options, Rendezvous& rendezvous, std::size_t learners)
      : thread_([this, &options, &rendezvous, learners] {
          rank::RolloutWorkerOptions worker{.worker = "test", .learners = learners, .threads = 2};
          worker.done = [this](std::uint64_t) { ++tasks_; };
          EXPECT_TRUE(rank::CollectRollouts(options, worker, rendezvous, stop_).ok());
        }) {}
  ~Worker() {
    stop_ = true;
    thread_.join();
  }
  std::uint64_t tasks() const { return tasks_; }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> tasks_ = 0;
  std::thread thread_;
};

}  // namespace muster::test
