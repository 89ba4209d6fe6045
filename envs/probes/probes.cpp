// Probe1-v0 .. Probe5-v0: each can be learnt only if one more part of an agent works, so the first
// that fails says where to look.
// Source: Jones, "Debugging RL, without the agonizing pain", 2021; spaces, rewards and expected
// values of the ARENA curriculum, chapter 2.2.
//
//   1  one observation, one action, one step, reward 1: is the value loss right? V = 1
//   2  observation -1 or 1, which is the reward: does the observation reach the value? V = +-1
//   3  two steps, 0 then 1, reward 1 at the end: are rewards discounted? V(0) = gamma, V(1) = 1
//   4  two actions, rewards -1 and 1: is the advantage's sign right? policy (0, 1)
//   5  observation 0 or 1, reward 1 for the action of that number, else -1: does the policy see?
#include <array>

#include "envs/numpy_random.h"
#include "envs/registry.h"

namespace muster::envs {
namespace {

class Probe final : public Env {
 public:
  explicit Probe(int number) : number_(number) {
    spec_.name = "Probe" + std::to_string(number) + "-v0";
    spec_.observation = Space::Box({1}, number == 2 ? -1 : 0, number == 1 || number == 4 ? 0 : 1);
    spec_.action = Space::Discrete(number < 4 ? 1 : 2);
    spec_.reward_low = number == 1 ? 1 : number == 3 ? 0 : -1;
    spec_.reward_high = 1;
  }

  const EnvSpec& spec() const override { return spec_; }
  ConstValues observation() const override { return std::span<const float>(seen_); }
  std::unique_ptr<Env> Clone() const override { return std::make_unique<Probe>(*this); }

 protected:
  Status OnReset(std::optional<std::uint64_t> seed) override {
    if (seed) random_ = NumpyRandom(*seed);
    seen_[0] = 0;
    if (number_ == 2) seen_[0] = random_.Random() < 0.5 ? 1.0F : -1.0F;
    if (number_ == 5) seen_[0] = random_.Random() < 0.5 ? 1.0F : 0.0F;
    return {};
  }

  Result<Transition> OnStep(ConstValues action) override {
    const std::int32_t chosen = action.As<std::int32_t>()[0];
    const auto seen = static_cast<double>(seen_[0]);
    switch (number_) {
      case 2:
        return Transition{.reward = seen, .terminated = true};
      case 3:
        seen_[0] = 1;
        return Transition{.reward = seen, .terminated = seen == 1};
      case 4:
        return Transition{.reward = chosen == 1 ? 1.0 : -1.0, .terminated = true};
      case 5:
        return Transition{.reward = chosen == seen ? 1.0 : -1.0, .terminated = true};
      default:
        return Transition{.reward = 1, .terminated = true};
    }
  }

  Status OnSave(ByteWriter& to) const override {
    random_.Save(to);
    to.Put(seen_);
    return {};
  }
  Status OnLoad(ByteReader& from) override {
    random_.Load(from);
    from.Get(seen_);
    return {};
  }

 private:
  int number_;
  EnvSpec spec_;
  NumpyRandom random_;
  std::array<float, 1> seen_{};
};

}  // namespace

std::vector<EnvEntry> ProbeEntries() {
  const std::array<const char*, 5> parts = {
      "constant reward: the value loss", "reward is the observation: the value's input",
      "reward after two steps: discounting", "reward is the action's: the advantage",
      "action must match the observation: the policy's input"};
  std::vector<EnvEntry> entries;
  for (int number = 1; number <= 5; ++number) {
    entries.push_back({"Probe" + std::to_string(number) + "-v0",
                       "probe",
                       parts[static_cast<std::size_t>(number - 1)],
                       [number](OptionReader&) { return std::make_unique<Probe>(number); },
                       {}});
  }
  return entries;
}

}  // namespace muster::envs
