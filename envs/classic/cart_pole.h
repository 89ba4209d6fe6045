// CartPole-v1: a pole on a cart that is pushed left or right.
// Source: Gymnasium 1.4, gymnasium/envs/classic_control/cartpole.py; Barto, Sutton and Anderson,
// "Neuronlike adaptive elements that can solve difficult learning control problems", IEEE SMC 1983.
#pragma once

#include "envs/classic/dynamics.h"

namespace muster::envs {

struct CartPole {
  static constexpr std::size_t kStates = 4;  // x, x', angle, angle'; in double.
  static constexpr std::size_t kObservations = 4;
  static constexpr bool kDiscrete = true;

  static constexpr double kGravity = 9.8, kCartMass = 1.0, kPoleMass = 0.1;
  static constexpr double kTotalMass = kPoleMass + kCartMass;
  static constexpr double kHalfLength = 0.5, kPoleMassLength = kPoleMass * kHalfLength;
  static constexpr double kForce = 10.0;
  static constexpr double kSeconds = 0.02;  // Of a step.
  static constexpr double kAngleMax = 12 * 2 * kPi / 360;
  static constexpr double kPositionMax = 2.4;

  bool sutton_barto_reward = false;

  explicit CartPole(OptionReader& options)
      : sutton_barto_reward(options.Flag("sutton_barto_reward", false,
                                         "0 a step and -1 at the end instead of 1 a step")) {}

  EnvSpec Spec() const {
    EnvSpec spec;
    spec.name = "CartPole-v1";
    spec.observation = Space::Box({-2 * kPositionMax, -kInfinity, -2 * kAngleMax, -kInfinity},
                                  {2 * kPositionMax, kInfinity, 2 * kAngleMax, kInfinity});
    spec.action = Space::Discrete(2);
    spec.reward_low = sutton_barto_reward ? -1 : 1;
    spec.reward_high = sutton_barto_reward ? 0 : 1;
    spec.steps_max = 500;
    spec.solved_at = 475;
    spec.actions = {"left", "right"};
    spec.elements = {"position", "velocity", "angle", "angular velocity"};
    return spec;
  }

  static void Begin(NumpyRandom& random, double* state) {
    for (std::size_t i = 0; i < kStates; ++i) state[i] = random.Uniform(-0.05, 0.05);
  }

  // The order of the operations is the reference's: it decides the last bit.
  template <class Real>
  static void Move(Real* state, Real action) {
    const Real force = Select(action == 1.0, Fill<Real>(kForce), Fill<Real>(-kForce));
    const Real velocity = state[1], angle = state[2], spin = state[3];
    const Real cosine = Cos(angle), sine = Sin(angle);
    const Real temp = (force + kPoleMassLength * (spin * spin) * sine) / kTotalMass;
    const Real spin_change =
        (kGravity * sine - cosine * temp) /
        (kHalfLength * (4.0 / 3.0 - kPoleMass * (cosine * cosine) / kTotalMass));
    const Real velocity_change = temp - kPoleMassLength * spin_change * cosine / kTotalMass;
    state[0] = state[0] + kSeconds * velocity;
    state[1] = velocity + kSeconds * velocity_change;
    state[2] = angle + kSeconds * spin;
    state[3] = spin + kSeconds * spin_change;
  }

  template <class Real>
  Outcome<Real> Step(Real* state, Real action) const {
    Move(state, action);
    const Real x = state[0], angle = state[2];
    const Mask<Real> fallen =
        Or(Or(x<-kPositionMax, x> kPositionMax), Or(angle<-kAngleMax, angle> kAngleMax));
    const double alive = sutton_barto_reward ? 0 : 1, end = sutton_barto_reward ? -1 : 1;
    return {Select(fallen, Fill<Real>(end), Fill<Real>(alive)), fallen};
  }

  template <class Real>
  static void Observe(const Real* state, Real* observation) {
    for (std::size_t i = 0; i < kObservations; ++i) observation[i] = state[i];
  }
  static void ObserveFirst(const double* state, float* observation) {
    for (std::size_t i = 0; i < kObservations; ++i) {
      observation[i] = static_cast<float>(state[i]);
    }
  }

  static Image Draw(const double* state) {
    Image image(600, 400);
    const double scale = 600 / (2 * kPositionMax), x = state[0] * scale + 300, y = 300;
    image.Line({0, y}, {600, y}, 1, kBlack);
    image.Rectangle({x - 25, y - 15}, {x + 25, y + 15}, kBlack);
    const Point axle = {x, y - 7};
    const double length = 2 * kHalfLength * scale;
    image.Line(axle, {x + length * std::sin(state[2]), axle.y - length * std::cos(state[2])}, 10,
               {202, 152, 101});
    image.Disc(axle, 5, {129, 132, 203});
    return image;
  }
};

}  // namespace muster::envs
