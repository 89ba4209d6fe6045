// TabularTask: an environment whose states and actions are numbers, as tables need them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "envs/env.h"

namespace muster::rl {

// What an action led to.
struct TabularOutcome {
  double reward = 0;
  std::size_t state = 0;  // The next one.
  bool terminated = false;
  bool truncated = false;

  bool ended() const { return terminated || truncated; }
};

// Several choices become one number, row-major: of MultiDiscrete([32, 11, 2]) the last varies
// fastest. One thread at a time.
class TabularTask {
 public:
  // kInvalidArgument, naming the space, unless observations and actions are choices, few enough for
  // a table (2^27 pairs).
  static Status Check(const envs::EnvSpec& spec);
  // Of an environment that Check takes.
  explicit TabularTask(std::unique_ptr<envs::Env> env);

  std::size_t states() const { return states_; }
  std::size_t actions() const { return actions_; }
  const envs::Env& env() const { return *env_; }

  // The next episode begins from this seed; those after it go on with the same generator.
  void SeedNext(std::uint64_t seed) { seed_ = seed; }
  // Begins an episode and gives its first state.
  Result<std::size_t> Begin();
  Result<TabularOutcome> Step(std::size_t action);

  // Between two episodes or within one: all that the environment goes on from.
  Result<std::string> Save() const;
  Status Load(std::string_view bytes);

 private:
  Result<std::size_t> State() const;

  std::unique_ptr<envs::Env> env_;
  std::size_t states_, actions_;
  std::optional<std::uint64_t> seed_;
  envs::ValueArray action_;
};

// Sums over episodes.
struct EpisodeSums {
  std::uint64_t episodes = 0;
  std::uint64_t steps = 0;
  double reward = 0;             // Returns without discount.
  double discounted_reward = 0;  // Returns as the learner values them.
  double td_error = 0;           // |delta| of every step; 0 where nothing is learnt.
};

// The return of one episode, reward by reward.
class EpisodeReturn {
 public:
  explicit EpisodeReturn(double discount) : discount_(discount) {}
  void Add(double reward) {
    total_ += reward;
    discounted_ += weight_ * reward;
    weight_ *= discount_;
    ++steps_;
  }
  void AddTo(EpisodeSums& sums) const {
    ++sums.episodes;
    sums.steps += steps_;
    sums.reward += total_;
    sums.discounted_reward += discounted_;
  }

 private:
  double discount_;
  double weight_ = 1, total_ = 0, discounted_ = 0;
  std::uint64_t steps_ = 0;
};

// Plays whole episodes with a fixed policy, `policy[state]` = action. Episode i begins from
// `first_seed` + i, so nothing but the policy differs between two such evaluations.
Result<EpisodeSums> PlayPolicy(TabularTask& task, std::span<const std::size_t> policy,
                               std::uint64_t episodes, std::uint64_t first_seed, double discount);

// The episode of `seed` with such a policy as a GIF, which `steps` it is expected to have; empty
// where the environment draws nothing.
Result<std::string> RecordPolicy(TabularTask& task, std::span<const std::size_t> policy,
                                 std::uint64_t seed, double steps);

}  // namespace muster::rl
