// A small agent, one update at a time, with all that it is made of.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "collectives/local/local_group.h"
#include "trainer/rl/learner.h"
#include "trainer/rl/ppo_state.h"

namespace muster::test {

struct Agent {
  explicit Agent(const rl::PpoOptions& given) : options(given) {
    const auto plan = rl::PlanPpo(options, 1);
    policy =
        std::move(*rl::Policy::Create(options.policy, plan->spec.observation, plan->spec.action));
    state = std::move(*rl::PpoState::Create(options, *policy, 0, options.lanes));
    loop = std::move(
        *LaneLoop::Create(*group[0], pool, policy->parameters(), {.lanes = options.lanes}));
    learner = rl::MakeLearner(options, *policy, *loop, state->model, pool);
    trajectories.resize(options.lanes);
  }
  void Collect() {
    loop->ForLanes([&](LaneLoop::Block& block, std::size_t lane) {
      rl::Collector collector;
      const Status status = collector.Collect(
          *policy, [&]() -> Tape& { return loop->BeginInference(block, state->model.values()); },
          state->moments, options.rollout_steps, *state->lanes[lane].envs, trajectories[lane]);
      EXPECT_TRUE(status.ok()) << status.message();
    });
  }

  Result<rl::PolicyUpdate> Update(std::uint64_t update, const rl::UpdateRates& rates) {
    std::vector<const rl::Trajectory*> rollouts;
    for (const rl::Trajectory& trajectory : trajectories) rollouts.push_back(&trajectory);
    return learner->Update(update, rates, rollouts);
  }

  rl::PpoOptions options;
  std::vector<std::unique_ptr<Group>> group = CreateLocalGroups(1);
  ThreadPool pool{2};
  std::unique_ptr<rl::Policy> policy;
  std::unique_ptr<rl::PpoState> state;
  std::unique_ptr<LaneLoop> loop;
  std::unique_ptr<rl::Learner> learner;
  std::vector<rl::Trajectory> trajectories;
};

}  // namespace muster::test
