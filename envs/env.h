// Env: one environment. Actions in; observations, rewards and the ends of episodes out.
// The interface is Gymnasium's (Towers et al., arXiv:2407.17032) with exact state added to it.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "envs/bytes.h"
#include "envs/image.h"
#include "envs/space.h"

namespace muster::envs {

class TabularModel;

struct EnvSpec {
  std::string name;  // "CartPole-v1"
  Space observation;
  Space action;
  double reward_low = -std::numeric_limits<double>::infinity();
  double reward_high = std::numeric_limits<double>::infinity();
  std::size_t steps_max = 0;          // An episode is truncated after so many steps; 0 = never.
  std::optional<double> solved_at;    // The mean return at which it counts as learnt.
  std::vector<std::string> actions;   // What discrete actions mean: "left", "right"; may be empty.
  std::vector<std::string> elements;  // What an observation's elements are; may be empty.
};

// What a step gave. Both flags may be set: the episode ended by itself on its last allowed step.
struct Transition {
  double reward = 0;
  bool terminated = false;  // The state is terminal: nothing is worth anything after it.
  bool truncated = false;   // The episode was cut short: bootstrap from the final observation.

  bool ended() const { return terminated || truncated; }
};

// One thread at a time. An environment holds all its state: two of them never share any.
class Env {
 public:
  virtual ~Env() = default;

  virtual const EnvSpec& spec() const = 0;

  // Begins an episode. With a seed the random generator starts anew, so that all that follows
  // depends on the seed and the actions alone; without one it goes on where it stands (as
  // Gymnasium's reset()), from seed 0 if there was none.
  Status Reset(std::optional<std::uint64_t> seed = std::nullopt);

  // kInvalidArgument for an action outside of the action space (a box takes any number but NaN:
  // what lies beyond its bounds is the environment's to clip). kFailedPrecondition where no episode
  // runs: before the first Reset, and after an end.
  Result<Transition> Step(ConstValues action);

  // The newest observation, of a reset or a step; valid until the next call of either.
  virtual ConstValues observation() const = 0;

  // The exact state, in the middle of an episode or between two: after Load, here or in another
  // environment of the same name and options, everything goes on to the bit as after Save.
  Status Save(std::string& bytes) const;
  // kDataLoss where the bytes are not such a state; the environment must be reset then.
  Status Load(std::string_view bytes);
  // Whether Save takes it. Where not, envs/replay_env.h makes one that does.
  virtual bool saves_state() const { return true; }

  // The state as a picture and as lines of text; a blank picture where there is none.
  virtual Image RenderImage() const { return {}; }
  virtual std::string RenderText() const;

  // Transition probabilities, where they are known exactly: for value and policy iteration.
  virtual const TabularModel* model() const { return nullptr; }

  // The mean reward of each action at this moment, where the environment knows it and has one state
  // only: what a bandit's learner is to find out, for measuring regret. Empty elsewhere.
  virtual std::span<const double> expected_rewards() const { return {}; }

  // A copy, state and all, that shares what never changes; null where this kind cannot be copied.
  virtual std::unique_ptr<Env> Clone() const { return nullptr; }

 protected:
  // What environments implement. Arguments are checked; Step comes only within an episode.
  virtual Status OnReset(std::optional<std::uint64_t> seed) = 0;
  virtual Result<Transition> OnStep(ConstValues action) = 0;
  virtual Status OnSave(ByteWriter& to) const = 0;
  virtual Status OnLoad(ByteReader& from) = 0;

 private:
  enum class Phase : std::uint8_t { kNew, kRunning, kEnded };
  Phase phase_ = Phase::kNew;
};

// kInvalidArgument unless a policy may hand this action to an environment of this space: choices
// in range, numbers that are not NaN.
Status CheckAction(const Space& space, ConstValues action);

}  // namespace muster::envs
