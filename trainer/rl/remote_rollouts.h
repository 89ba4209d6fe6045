// Rollouts that others collect: what a learner's rank asks of them, and how they do it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "trainer/rl/policy.h"
#include "trainer/rl/policy_tape.h"
#include "trainer/rl/ppo_options.h"
#include "trainer/rl/rollout.h"

namespace muster::rl {

// Some rollouts of one lane, one after the other, by one policy.
struct RolloutTask {
  std::size_t lane = 0;
  std::size_t rollouts = 0;
  std::string state;  // LaneEnvs::Save.
};

struct RolloutResult {
  std::vector<std::string> trajectories;  // [rollouts], Trajectory::Save.
  std::string state;                      // After them.
};

// What has come of a lane's task where rollouts are taken as they come.
struct RolloutArrival {
  std::size_t lane = 0;
  // One rollout. Nothing: the task is over, for nobody is there who could do what is left of it.
  std::optional<RolloutResult> result;
};

// Who collects for a learner's rank. They may come and go at any time: what nobody does, the rank
// does itself, with the same bits. Called from the trainer's thread.
class RemoteRollouts {
 public:
  virtual ~RemoteRollouts() = default;

  virtual std::size_t workers() const = 0;
  // The policy whose actions tasks take from now on. Copies what it needs.
  virtual void SetPolicy(std::uint64_t version, std::span<const float> values,
                         const NormalizerMoments& moments) = 0;
  // False: nobody is there. A lane has at most one task at a time.
  virtual bool Begin(RolloutTask task) = 0;
  // Ends the lane's task; blocks. Nothing: nobody could do it, or not in time.
  virtual std::optional<RolloutResult> Finish(std::size_t lane) = 0;

  // ---- Of an asynchronous job, instead of Begin and Finish.

  // The task's rollouts are collected one after the other, each by the newest policy that its
  // collector has when it begins. A lane's task stays, also when all of it has come, until it is
  // taken back or over: then so many more are asked for, and `state` is not read. False: nobody is
  // there, or the task is over, as is told next.
  virtual bool RunAhead(RolloutTask task) = 0;
  // What has come since, in its order; waits for something for at most so long.
  virtual std::vector<RolloutArrival> Arrived(std::chrono::milliseconds most) = 0;
  // Ends the lane's task, if it has one: nothing of it comes any more. Who has not done it yet is
  // given nothing else before.
  virtual void TakeBack(std::size_t lane) = 0;
};

// What collects on the other side: any lane's rollouts, by the policies it is given.
class RolloutRunner {
 public:
  static Result<std::unique_ptr<RolloutRunner>> Create(const PpoOptions& options);

  // kInvalidArgument unless the sizes are this policy's. Thread-safe.
  Status SetPolicy(std::uint64_t version, std::string_view values, std::string_view moments);

  // What one thread needs.
  class Seat {
   public:
    explicit Seat(const RolloutRunner& runner);

   private:
    friend class RolloutRunner;
    PolicyTape tape_;
    Collector collector_;
  };

  // From `state`; nothing = from where this runner left the lane. Different lanes may run at once,
  // each with a seat of its own. By the policy of that version, in an asynchronous job by the
  // newest one. kFailedPrecondition where the lane is not known, or not that version; what the
  // environment reports.
  Result<RolloutResult> Run(Seat& seat, std::size_t lane, std::uint64_t version,
                            std::size_t rollouts, std::optional<std::string_view> state);

 private:
  struct VersionedPolicy {
    std::uint64_t version = 0;
    std::vector<float> values;
    NormalizerMoments moments;
  };
  explicit RolloutRunner(const PpoOptions& options) : options_(options) {}
  Result<LaneEnvs*> EnvsOf(std::size_t lane, bool known);

  const PpoOptions options_;
  std::unique_ptr<Policy> policy_;
  std::mutex mutex_;
  std::shared_ptr<const VersionedPolicy> current_;          // Under the mutex.
  std::map<std::size_t, std::unique_ptr<LaneEnvs>> lanes_;  // Under the mutex; not what they hold.
};

// The policy's normalisers as bytes.
std::string BytesOf(const NormalizerMoments& moments);

}  // namespace muster::rl
