// EasyCart: CartPole that also pays for standing upright in the middle.
// Source: the ARENA curriculum's exercise on reward shaping (chapter 2.3), its published solution.
#pragma once

#include "envs/classic/cart_pole.h"

namespace muster::envs {

struct EasyCart : CartPole {
  explicit EasyCart(OptionReader& options) : CartPole(options) {}

  EnvSpec Spec() const {
    EnvSpec spec = CartPole::Spec();
    spec.name = "EasyCart-v0";
    spec.reward_low = -2;
    spec.reward_high = 1;
    spec.solved_at.reset();
    return spec;
  }

  // The mean of how upright and how central, each 1 at best and 0 where the episode ends; from the
  // observation, so in float.
  template <class Real>
  Outcome<Real> Step(Real* state, Real action) const {
    const Mask<Real> fallen = CartPole::Step(state, action).terminated;
    const Real upright = Shortfall(state[2], 0.2095F), central = Shortfall(state[0], 2.4F);
    return {RoundToFloat(upright + central) / 2.0, fallen};
  }

 private:
  template <class Real>
  static Real Shortfall(Real value, float limit) {
    return RoundToFloat(1.0 - Abs(RoundToFloat(RoundToFloat(value) / static_cast<double>(limit))));
  }
};

}  // namespace muster::envs
