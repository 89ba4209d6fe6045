// MountainCar-v0: a car too weak for the hill must swing itself up.
// Source: Gymnasium 1.4, gymnasium/envs/classic_control/mountain_car.py; Moore, "Efficient
// memory-based learning for robot control", 1990; Sutton and Barto, 2nd edition, example 10.1.
#pragma once

#include "envs/classic/dynamics.h"

namespace muster::envs {

constexpr double kCarLeft = -1.2, kCarRight = 0.6, kCarSpeedMax = 0.07;

// The valley, the car and the flag, for this environment and its continuous twin.
inline Image DrawMountainCar(double position, double goal) {
  Image image(600, 400);
  const double scale = 600 / (kCarRight - kCarLeft);
  const auto at = [&](double x) {
    return Point{(x - kCarLeft) * scale, 400 - (std::sin(3 * x) * 0.45 + 0.55) * scale};
  };
  for (int i = 0; i < 100; ++i) {
    const double x = kCarLeft + i * (kCarRight - kCarLeft) / 100;
    image.Line(at(x), at(x + (kCarRight - kCarLeft) / 100), 2, kBlack);
  }
  const Point foot = at(goal);
  image.Line(foot, {foot.x, foot.y - 50}, 1, kBlack);
  image.Rectangle({foot.x, foot.y - 50}, {foot.x + 25, foot.y - 40}, {204, 204, 0});
  const Point car = at(position);
  const double slope = std::atan(1.35 * std::cos(3 * position)), c = std::cos(slope);
  const Point up = {car.x - 20 * std::sin(slope), car.y - 20 * c};
  image.Line({up.x - 20 * c, up.y + 20 * std::sin(slope)},
             {up.x + 20 * c, up.y - 20 * std::sin(slope)}, 20, kBlack);
  for (const double side : {-10.0, 10.0}) {
    image.Disc({car.x + side * c - 8 * std::sin(slope), car.y - side * std::sin(slope) - 8 * c}, 8,
               kGrey);
  }
  return image;
}

struct MountainCar {
  static constexpr std::size_t kStates = 2;  // Position and velocity; in double.
  static constexpr std::size_t kObservations = 2;
  static constexpr bool kDiscrete = true;
  static constexpr double kGoal = 0.5, kForce = 0.001, kGravity = 0.0025;

  double goal_velocity = 0;

  explicit MountainCar(OptionReader& options)
      : goal_velocity(options.Number("goal_velocity", 0, {}, "least velocity at the flag")) {}

  EnvSpec Spec() const {
    EnvSpec spec;
    spec.name = "MountainCar-v0";
    spec.observation = Space::Box({kCarLeft, -kCarSpeedMax}, {kCarRight, kCarSpeedMax});
    spec.action = Space::Discrete(3);
    spec.reward_low = spec.reward_high = -1;
    spec.steps_max = 200;
    spec.solved_at = -110;
    spec.actions = {"left", "none", "right"};
    spec.elements = {"position", "velocity"};
    return spec;
  }

  static void Begin(NumpyRandom& random, double* state) {
    state[0] = random.Uniform(-0.6, -0.4);
    state[1] = 0;
  }

  template <class Real>
  Outcome<Real> Step(Real* state, Real action) const {
    Real position = state[0], velocity = state[1];
    velocity = velocity + ((action - 1.0) * kForce + Cos(3.0 * position) * -kGravity);
    velocity = Clip(velocity, -kCarSpeedMax, kCarSpeedMax);
    position = Clip(position + velocity, kCarLeft, kCarRight);
    velocity = Select(And(position == kCarLeft, velocity < 0.0), Fill<Real>(0), velocity);
    state[0] = position;
    state[1] = velocity;
    return {Fill<Real>(-1), And(position >= kGoal, velocity >= goal_velocity)};
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
