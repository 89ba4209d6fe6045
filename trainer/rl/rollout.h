// Collect: what a policy lives through in a lane's environments. A pure function of the policy's
// values, the moments of its normalisers, the lane's state and the number of steps: the same bits
// in a learner's rank, on any other worker of its numerics class, and when it is done again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "trainer/rl/action_sampler.h"
#include "trainer/rl/environment_options.h"
#include "trainer/rl/policy.h"

namespace muster::rl {

// `steps` of `envs` environments by time: row t * envs + e. Values are not in it: the learner's
// critic gives them.
struct Trajectory {
  std::uint64_t version = 0;  // Of the policy that acted: the updates that it has had.
  std::size_t steps = 0;
  std::size_t envs = 0;
  std::vector<float> features;       // [steps, envs, features]: what the policy saw.
  std::vector<float> last_features;  // [envs, features]: after the last step.
  std::vector<float> memory;         // [envs, memory]: the policy's before the first step.
  Actions actions;                   // [steps, envs], as the policy meant them.
  std::vector<float> log_probs;      // [steps, envs]
  std::vector<float> rewards;
  std::vector<std::uint8_t> terminated, truncated;
  // Steps that were truncated and not terminated: the row, and what the policy would have seen.
  std::vector<std::uint32_t> cut;
  std::vector<float> cut_features;                 // [cut, features]
  std::vector<envs::FinishedEpisode> episodes;     // That ended, by step, then by environment.
  envs::MomentSums observation_sums, reward_sums;  // For the normalisers of later versions.

  std::size_t rows() const { return steps * envs; }
  // Room for a rollout of this size.
  void Begin(const Policy& policy, std::size_t steps_wanted, std::size_t envs_given);
  void Save(envs::ByteWriter& to) const;
  // kDataLoss unless the bytes are a trajectory of these sizes.
  Status Load(envs::ByteReader& from, const Policy& policy, std::size_t steps, std::size_t envs);
};

// A lane's environments and everything else that a rollout needs to go on: lane state.
class LaneEnvs {
 public:
  // `count` environments of lane `lane`, numbered over the whole job from lane * count on: their
  // seeds and their random streams go by that number and `seed`. Reset before the first rollout.
  // Each has room for `memory` numbers of the policy's.
  static Result<std::unique_ptr<LaneEnvs>> Create(const EnvironmentOptions& options,
                                                  std::size_t count, std::uint64_t seed,
                                                  std::size_t lane, std::size_t memory);
  const envs::EnvSpec& spec() const { return wrapped_.env->spec(); }
  std::size_t count() const { return wrapped_.env->envs(); }
  std::uint64_t steps_done() const { return steps_done_; }  // Of each environment.

  // Of an observation that is normalised, before frames are stacked; 0 where none is.
  std::size_t normalized_elements() const {
    return wrapped_.observations == nullptr ? 0 : wrapped_.observations->elements();
  }

  // Begins an episode in all of them.
  Status Reset();
  // The exact state, from here or another worker. kDataLoss where the bytes are none.
  void Save(std::string& bytes) const;
  Status Load(std::string_view bytes);

 private:
  friend class Collector;
  LaneEnvs() = default;

  std::string name_;
  WrappedEnvs wrapped_;
  std::uint64_t seed_ = 0;
  std::size_t first_ = 0;  // The number of its first environment.
  std::uint64_t steps_done_ = 0;
  // [count, memory]: what the policy remembers of the running episodes; zeros where one begins.
  std::vector<float> memory_;
};

// Keeps its memory from rollout to rollout. One thread at a time.
class Collector {
 public:
  // A tape that records nothing, bound to the policy's values.
  using BeginTape = std::function<Tape&()>;

  // `steps` steps of all the lane's environments. kFailedPrecondition where an observation or a
  // reward is not a number, naming the environment, its step and its action; what an environment
  // itself reports.
  Status Collect(const Policy& policy, const BeginTape& begin, const NormalizerMoments& moments,
                 std::size_t steps, LaneEnvs& lane, Trajectory& trajectory);

 private:
  Status CheckNumbers(const Policy& policy, const LaneEnvs& lane, std::size_t step,
                      std::span<const float> features) const;
  void KeepStep(const Policy& policy, const LaneEnvs& lane, std::size_t step,
                Trajectory& trajectory) const;
  static void Forget(LaneEnvs& lane);
  static void KeepCut(const LaneEnvs& lane, std::size_t step, std::size_t width,
                      Trajectory& trajectory);

  ActionSampler sampler_;
  Actions actions_;  // Of one step.
};

}  // namespace muster::rl
