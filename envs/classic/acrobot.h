// Acrobot-v1: two links, a motor between them, a line to swing above.
// Source: Gymnasium 1.4, gymnasium/envs/classic_control/acrobot.py (after RLPy); Sutton,
// "Generalization in reinforcement learning: successful examples using sparse coarse coding", 1996;
// Sutton and Barto's book, whose equations of motion are the default.
#pragma once

#include "envs/classic/dynamics.h"

namespace muster::envs {

struct Acrobot {
  // Angles of both links (0 = hanging, the second relative to the first) and their velocities.
  static constexpr std::size_t kStates = 4;
  static constexpr std::size_t kObservations = 6;
  static constexpr bool kDiscrete = true;
  static constexpr double kSeconds = 0.2, kGravity = 9.8;
  static constexpr double kSpeedMax1 = 4 * kPi, kSpeedMax2 = 9 * kPi;

  bool nips = false;

  explicit Acrobot(OptionReader& options)
      : nips(options.Choice("book_or_nips", "book", {"book", "nips"},
                            "equations of the book, or of the 1995 paper") == "nips") {}

  EnvSpec Spec() const {
    EnvSpec spec;
    spec.name = "Acrobot-v1";
    spec.observation = Space::Box({-1, -1, -1, -1, -kSpeedMax1, -kSpeedMax2},
                                  {1, 1, 1, 1, kSpeedMax1, kSpeedMax2});
    spec.action = Space::Discrete(3);
    spec.reward_low = -1;
    spec.reward_high = 0;
    spec.steps_max = 500;
    spec.solved_at = -100;
    spec.actions = {"torque -1", "none", "torque 1"};
    spec.elements = {
        "cos 1", "sin 1", "cos 2", "sin 2", "angular velocity 1", "angular velocity 2"};
    return spec;
  }

  // In float32, as the reference does it here and nowhere else.
  static void Begin(NumpyRandom& random, double* state) {
    for (std::size_t i = 0; i < kStates; ++i) {
      state[i] = RoundToFloat(random.Uniform(-0.1, 0.1));
    }
  }

  template <class Real>
  Outcome<Real> Step(Real* state, Real action) const {
    RungeKutta(state, action - 1.0);
    state[0] = Wrapped(state[0]);
    state[1] = Wrapped(state[1]);
    state[2] = Clip(state[2], -kSpeedMax1, kSpeedMax1);
    state[3] = Clip(state[3], -kSpeedMax2, kSpeedMax2);
    const Mask<Real> above = -Cos(state[0]) - Cos(state[1] + state[0]) > 1.0;
    return {Select(above, Fill<Real>(0), Fill<Real>(-1)), above};
  }

  template <class Real>
  static void Observe(const Real* state, Real* observation) {
    observation[0] = Cos(state[0]);
    observation[1] = Sin(state[0]);
    observation[2] = Cos(state[1]);
    observation[3] = Sin(state[1]);
    observation[4] = state[2];
    observation[5] = state[3];
  }
  // The reference takes these of float32 angles, where NumPy has series of its own.
  static void ObserveFirst(const double* state, float* observation) {
    for (std::size_t i = 0; i < 2; ++i) {
      const auto angle = static_cast<float>(state[i]);
      observation[2 * i] = NumpyCosine(angle);
      observation[2 * i + 1] = NumpySine(angle);
      observation[4 + i] = static_cast<float>(state[2 + i]);
    }
  }

  static Image Draw(const double* state) {
    Image image(500, 500);
    const double scale = 500 / 4.4;
    image.Line({0, 250 - scale}, {500, 250 - scale}, 1, kBlack);
    Point joint = {250, 250};
    for (const double angle : {state[0], state[0] + state[1]}) {
      const Point end = {joint.x + scale * std::sin(angle), joint.y + scale * std::cos(angle)};
      image.Line(joint, end, 0.2 * scale, {0, 204, 204});
      image.Disc(joint, 0.1 * scale, {204, 204, 0});
      joint = end;
    }
    return image;
  }

 private:
  // NumPy's float32 cosine and sine for |x| <= pi/4 on processors with fused multiply-add; on
  // others it calls the C library, whose last bit differs once in some hundred numbers. Source:
  // numpy/_core/src/umath, loops_trigonometric.
  static float NumpyCosine(float x) {
    const float xx = x * x;
    float sum = std::fma(0x1.98e616p-16F, xx, -0x1.6c06dcp-10F);
    sum = std::fma(sum, xx, 0x1.55553cp-05F);
    sum = std::fma(sum, xx, -0.5F);
    return std::fma(sum, xx, 1.0F);
  }
  static float NumpySine(float x) {
    const float xx = x * x;
    float sum = std::fma(0x1.7d3bbcp-19F, xx, -0x1.a06bbap-13F);
    sum = std::fma(sum, xx, 0x1.11119ap-07F);
    sum = std::fma(sum, xx, -0x1.555556p-03F);
    return std::fma(sum * xx, x, x);
  }

  // The state's time derivative under a torque between the links. Masses, lengths and moments of
  // inertia are 1, centres of mass at 0.5; factors of 1 are left out, the rest is in the
  // reference's order.
  template <class Real>
  void Derivative(const Real* state, Real torque, Real* change) const {
    const Real angle1 = state[0], angle2 = state[1], spin1 = state[2], spin2 = state[3];
    const Real cosine2 = Cos(angle2), sine2 = Sin(angle2);
    const Real d1 = 0.25 + (1.25 + cosine2) + 1.0 + 1.0;
    const Real d2 = 0.25 + 0.5 * cosine2 + 1.0;
    const Real phi2 = 0.5 * kGravity * Cos(angle1 + angle2 - kPi / 2);
    const Real phi1 = -0.5 * PythonSquare(spin2) * sine2 - spin2 * spin1 * sine2 +
                      1.5 * kGravity * Cos(angle1 - kPi / 2) + phi2;
    const Real inertia = 1.25 - PythonSquare(d2) / d1;
    Real force = torque + d2 / d1 * phi1;
    if (!nips) force = force - 0.5 * PythonSquare(spin1) * sine2;
    change[0] = spin1;
    change[1] = spin2;
    change[3] = (force - phi2) / inertia;
    change[2] = -(d2 * change[3] + phi1) / d1;
  }

  // One step of the classical fourth-order method.
  template <class Real>
  void RungeKutta(Real* state, Real torque) const {
    Real k1[4], k2[4], k3[4], k4[4], at[4];  // NOLINT: vectors have no room in std::array.
    Derivative(state, torque, k1);
    for (int i = 0; i < 4; ++i) at[i] = state[i] + kSeconds / 2 * k1[i];
    Derivative(at, torque, k2);
    for (int i = 0; i < 4; ++i) at[i] = state[i] + kSeconds / 2 * k2[i];
    Derivative(at, torque, k3);
    for (int i = 0; i < 4; ++i) at[i] = state[i] + kSeconds * k3[i];
    Derivative(at, torque, k4);
    for (int i = 0; i < 4; ++i) {
      state[i] = state[i] + kSeconds / 6 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]);
    }
  }

  template <class Real>
  static Real Wrapped(Real angle) {
    while (Any(angle > kPi)) angle = Select(angle > kPi, angle - 2 * kPi, angle);
    while (Any(angle < -kPi)) angle = Select(angle < -kPi, angle + 2 * kPi, angle);
    return angle;
  }
};

}  // namespace muster::envs
