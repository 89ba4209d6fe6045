// MountainCarContinuous-v0: the same valley, a force between -1 and 1 that costs its square.
// Source: Gymnasium 1.4, gymnasium/envs/classic_control/continuous_mountain_car.py.
//
// The reference keeps its state in float32, except for the state that a reset draws, which is
// float64; and a force beyond the bounds becomes a Python float, so the step that clips it rounds
// less often. Both show in the last bits, and are done here as there.
#pragma once

#include "envs/classic/mountain_car.h"

namespace muster::envs {

struct MountainCarContinuous {
  static constexpr std::size_t kStates = 3;  // Position, velocity, 1 right after a reset.
  static constexpr std::size_t kObservations = 2;
  static constexpr bool kDiscrete = false;
  static constexpr double kGoal = 0.45, kPower = 0.0015, kGravity = 0.0025;

  double goal_velocity = 0;

  explicit MountainCarContinuous(OptionReader& options)
      : goal_velocity(options.Number("goal_velocity", 0, {}, "least velocity at the flag")) {}

  EnvSpec Spec() const {
    EnvSpec spec;
    spec.name = "MountainCarContinuous-v0";
    spec.observation = Space::Box({kCarLeft, -kCarSpeedMax}, {kCarRight, kCarSpeedMax});
    spec.action = Space::Box({1}, -1, 1);
    spec.reward_high = 100;  // No lower bound: the action that counts is the one given.
    spec.steps_max = 999;
    spec.solved_at = 90;
    spec.elements = {"position", "velocity"};
    return spec;
  }

  static void Begin(NumpyRandom& random, double* state) {
    state[0] = random.Uniform(-0.6, -0.4);
    state[1] = 0;
    state[2] = 1;
  }

  template <class Real>
  Outcome<Real> Step(Real* state, Real action) const {
    const Mask<Real> fresh = state[2] == 1.0;
    const auto rounded = [&](Real value) { return Select(fresh, value, RoundToFloat(value)); };
    const auto limit = [&](double value) { return rounded(Fill<Real>(value)); };
    const Mask<Real> clipped = Or(action<-1.0, action> 1.0);
    const Real gravity = kGravity * Cos(rounded(3.0 * state[0]));
    const Real push = RoundToFloat(action * static_cast<double>(static_cast<float>(kPower)));
    const Real change = Select(clipped, CopySign(Fill<Real>(kPower), action) - gravity,
                               RoundToFloat(push - RoundToFloat(gravity)));
    Real velocity = rounded(state[1] + rounded(change));
    velocity = Min(velocity, limit(kCarSpeedMax));
    velocity = Max(velocity, limit(-kCarSpeedMax));
    Real position = rounded(state[0] + velocity);
    position = Min(position, limit(kCarRight));
    position = Max(position, limit(kCarLeft));
    velocity = Select(And(position == limit(kCarLeft), velocity < 0.0), Fill<Real>(0), velocity);
    const Mask<Real> arrived = And(position >= limit(kGoal), velocity >= limit(goal_velocity));
    state[0] = RoundToFloat(position);
    state[1] = RoundToFloat(velocity);
    state[2] = Fill<Real>(0);
    const Real prize = Select(arrived, Fill<Real>(100), Fill<Real>(0));
    return {prize - action * action * 0.1, arrived};
  }

  template <class Real>
  static void Observe(const Real* state, Real* observation) {
    observation[0] = state[0];
    observation[1] = state[1];
  }
  static void ObserveFirst(const double* state, float* observation) {
    observation[0] = static_cast<float>(state[0]);
    observation[1] = static_cast<float>(state[1]);
  }

  static Image Draw(const double* state) { return DrawMountainCar(state[0], kGoal); }
};

}  // namespace muster::envs
