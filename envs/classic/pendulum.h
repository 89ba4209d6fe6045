// Pendulum-v1: swing a pendulum up with a weak motor and hold it there.
// Source: Gymnasium 1.4, gymnasium/envs/classic_control/pendulum.py.
#pragma once

#include "envs/classic/dynamics.h"

namespace muster::envs {

struct Pendulum {
  static constexpr std::size_t kStates = 2;  // Angle (0 = up, never wrapped) and its velocity.
  static constexpr std::size_t kObservations = 3;
  static constexpr bool kDiscrete = false;
  static constexpr double kSpeedMax = 8, kTorqueMax = 2, kSeconds = 0.05;

  double gravity = 10;

  explicit Pendulum(OptionReader& options)
      : gravity(options.Number("g", 10, {}, "acceleration of gravity, m/s^2")) {}

  EnvSpec Spec() const {
    EnvSpec spec;
    spec.name = "Pendulum-v1";
    spec.observation = Space::Box({-1, -1, -kSpeedMax}, {1, 1, kSpeedMax});
    spec.action = Space::Box({1}, -kTorqueMax, kTorqueMax);
    spec.reward_low = -(kPi * kPi + 0.1 * kSpeedMax * kSpeedMax + 0.001 * kTorqueMax * kTorqueMax) -
                      1e-6;  // Of which the last part is rounded to float.
    spec.reward_high = 0;
    spec.steps_max = 200;
    spec.elements = {"cos", "sin", "angular velocity"};
    return spec;
  }

  static void Begin(NumpyRandom& random, double* state) {
    state[0] = random.Uniform(-kPi, kPi);
    state[1] = random.Uniform(-1, 1);
  }

  // The cost is that of the state before the step; the angle then moves with the new velocity.
  // The torque is a float32, and stays one until it meets the velocity.
  template <class Real>
  Outcome<Real> Step(Real* state, Real action) const {
    const Real angle = state[0], spin = state[1];
    const Real torque = Clip(action, -kTorqueMax, kTorqueMax);
    const Real torque_cost =
        RoundToFloat(static_cast<double>(0.001F) * PythonSquareOfFloat(torque));
    const Real cost = PythonSquare(Wrapped(angle)) + 0.1 * PythonSquare(spin) + torque_cost;
    const Real push = RoundToFloat(3.0 * torque);
    const Real moved = spin + (3 * gravity / 2.0 * Sin(angle) + push) * kSeconds;
    state[1] = Clip(moved, -kSpeedMax, kSpeedMax);
    state[0] = angle + state[1] * kSeconds;
    return {-cost, Mask<Real>{}};  // Never terminal.
  }

  // ((angle + pi) % (2 pi)) - pi, Python's %: fmod, which is exact, and its result made positive.
  template <class Real>
  static Real Wrapped(Real angle) {
    constexpr double kTurn = 2 * kPi;
    const Real x = angle + kPi;
    Real rest = Fnma(Truncate(x / kTurn), Fill<Real>(kTurn), x);
    // The quotient may have been rounded up to the next integer, or x be negative.
    rest = Select(And(x > 0.0, rest < 0.0), rest + kTurn, rest);
    rest = Select(And(x<0.0, rest> 0.0), rest - kTurn, rest);
    rest = Select(rest < 0.0, rest + kTurn, rest);
    return rest - kPi;
  }

  template <class Real>
  static void Observe(const Real* state, Real* observation) {
    observation[0] = Cos(state[0]);
    observation[1] = Sin(state[0]);
    observation[2] = state[1];
  }
  static void ObserveFirst(const double* state, float* observation) {
    observation[0] = static_cast<float>(Cos(state[0]));
    observation[1] = static_cast<float>(Sin(state[0]));
    observation[2] = static_cast<float>(state[1]);
  }

  static Image Draw(const double* state) {
    Image image(500, 500);
    const Point axle = {250, 250};
    const Point tip = {250 - 114 * std::sin(state[0]), 250 - 114 * std::cos(state[0])};
    image.Line(axle, tip, 22, {204, 77, 77});
    for (const Point& end : {axle, tip}) image.Disc(end, 11, {204, 77, 77});
    image.Disc(axle, 5, kBlack);
    return image;
  }
};

}  // namespace muster::envs
