// ArmedBanditTestbed-v0: n arms, each with its own mean reward.
// Source: Sutton and Barto, "Reinforcement learning", 2nd edition, section 2.3 (the 10-armed
// testbed) and exercise 2.5 (drifting means); drawn as the ARENA curriculum's MultiArmedBandit
// does.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "envs/env.h"
#include "envs/numpy_random.h"
#include "envs/options.h"

namespace muster::envs {

// An arm's reward is normal around its mean, with deviation 1. Stationary: an episode's means are
// normal(0, 1), and with a problem always those that it seeds: what one learns in an episode is of
// use in the next. Otherwise they begin at 0 and each drifts by normal(0, 0.01) a step.
class Bandit final : public Env {
 public:
  Bandit(std::size_t arms, bool stationary, std::optional<std::uint64_t> problem = std::nullopt);

  const EnvSpec& spec() const override { return spec_; }
  ConstValues observation() const override { return std::span<const std::int32_t>(nothing_); }
  std::string RenderText() const override;
  std::unique_ptr<Env> Clone() const override { return std::make_unique<Bandit>(*this); }

  // What the learner is to find out; for measuring regret and the share of best choices.
  std::span<const double> means() const { return means_; }
  std::span<const double> expected_rewards() const override { return means_; }
  std::size_t best_arm() const;

 protected:
  Status OnReset(std::optional<std::uint64_t> seed) override;
  Result<Transition> OnStep(ConstValues action) override;
  Status OnSave(ByteWriter& to) const override;
  Status OnLoad(ByteReader& from) override;

 private:
  bool stationary_;
  std::optional<std::uint64_t> problem_;
  EnvSpec spec_;
  NumpyRandom random_;
  std::vector<double> means_;
  std::array<std::int32_t, 1> nothing_{};
};

}  // namespace muster::envs
