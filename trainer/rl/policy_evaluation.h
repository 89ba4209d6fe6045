// What a policy reaches: whole episodes in environments of their own, dealt out over the lanes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "trainer/lanes/lane_loop.h"
#include "trainer/rl/environment_options.h"
#include "trainer/rl/episode_recorder.h"
#include "trainer/rl/policy.h"
#include "trainer/rl/ppo_options.h"

namespace muster::rl {

// Undiscounted returns as the environment gives rewards, over all episodes of an evaluation.
struct PolicyEvaluation {
  double return_mean = 0, return_std = 0;
  double return_min = 0, return_max = 0;
  double length_mean = 0;
  std::uint64_t episodes = 0;
};

class PolicyEvaluator {
 public:
  // Episodes of an environment without a time limit are cut after 10,000 steps. The e-th episode is
  // always the same start, whatever the step of training and the number of lanes. All references
  // must outlive it.
  static Result<std::unique_ptr<PolicyEvaluator>> Create(const EnvironmentOptions& environment,
                                                         const EvaluationOptions& options,
                                                         std::uint64_t seed, const Policy& policy,
                                                         LaneLoop& loop);

  // Collective; the same on all ranks. Errors are an environment's own.
  Result<PolicyEvaluation> Run(std::span<const float> values, const NormalizerMoments& moments);

  // The first episode once more, as a GIF; empty where the environment draws nothing. `expected` is
  // what an evaluation has found of `values`. Not collective, and leaves nothing behind. Errors are
  // the environment's own, or that it became too large.
  Result<std::string> Record(std::span<const float> values, const NormalizerMoments& moments,
                             const PolicyEvaluation& expected);

  ~PolicyEvaluator();

 private:
  // The episodes of one local lane.
  struct Lane;

  PolicyEvaluator(const EvaluationOptions& options, std::uint64_t seed, const Policy& policy,
                  LaneLoop& loop);
  Status RunLane(LaneLoop::Block& block, std::span<const float> values,
                 const NormalizerMoments& moments, Lane& lane);
  Status Begin(const NormalizerMoments& moments, Lane& lane);
  Status Step(LaneLoop::Block& block, std::span<const float> values, std::uint64_t step,
              Lane& lane);
  Status RecordLane(LaneLoop::Block& block, std::span<const float> values,
                    const NormalizerMoments& moments, const envs::Env& env, Lane& lane,
                    EpisodeRecorder& recorder);

  EnvironmentOptions environment_;  // With a time limit.
  const EvaluationOptions options_;
  const std::uint64_t seed_;
  const Policy& policy_;
  LaneLoop& loop_;
  std::vector<Lane> lanes_;
  std::vector<double> sums_;  // [local lanes, episodes, 2]; row 0 ends as all lanes' episodes.
};

}  // namespace muster::rl
