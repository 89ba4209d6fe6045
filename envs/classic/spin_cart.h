// SpinCart: CartPole that pays for spinning the pole fast while the cart stays calm.
// Source: the ARENA curriculum's exercise on reward shaping (chapter 2.3), its published solution.
#pragma once

#include "envs/classic/cart_pole.h"

namespace muster::envs {

struct SpinCart : CartPole {
  explicit SpinCart(OptionReader& options) : CartPole(options) {}

  EnvSpec Spec() const {
    EnvSpec spec = CartPole::Spec();
    spec.name = "SpinCart-v0";
    // The pole may turn all the way round.
    spec.observation.low[2] = -kInfinity;
    spec.observation.high[2] = kInfinity;
    spec.reward_low = -kInfinity;
    spec.reward_high = 0.5;
    spec.solved_at.reset();
    return spec;
  }

  // From the observation, so in float. Only leaving the track ends an episode.
  template <class Real>
  Outcome<Real> Step(Real* state, Real action) const {
    Move(state, action);
    const Real x = RoundToFloat(state[0]), velocity = RoundToFloat(state[1]);
    const Real speed = Min(Fill<Real>(1), Scaled(Abs(RoundToFloat(state[3])), 0.1F));
    const Real off_centre = Abs(RoundToFloat(x / 2.5)), hurry = Abs(RoundToFloat(velocity / 10.0));
    const Real penalty = Max(Fill<Real>(1), RoundToFloat(off_centre + hurry));
    return {RoundToFloat(speed - 0.5 * penalty), Abs(x) > static_cast<double>(2.4F)};
  }

 private:
  template <class Real>
  static Real Scaled(Real value, float factor) {
    return RoundToFloat(value * static_cast<double>(factor));
  }
};

}  // namespace muster::envs
