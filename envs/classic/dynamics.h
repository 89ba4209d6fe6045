// What an environment of classic control is written as: its state's arithmetic, and nothing else.
//
// A type D with
//   kStates, kObservations, kDiscrete   sizes; whether actions are choices or one float32
//   D(OptionReader&)                    its options
//   Spec()
//   Begin(random, state)                draws an episode's first state
//   Step(state, action) -> Outcome      in place, for Real = double or Double4 (vector_math.h)
//   Observe(state, observation)         after a step, still in double; rounded to float by the
//   caller ObserveFirst(state, observation)    after Begin Draw(state) -> Image
// classic_env.h makes one environment of it, classic_batch.h thousands side by side.
#pragma once

#include <cmath>
#include <limits>

#include "envs/env.h"
#include "envs/image.h"
#include "envs/numpy_random.h"
#include "envs/options.h"
#include "envs/vector_math.h"

namespace muster::envs {

constexpr double kPi = 3.141592653589793;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Whether a state can be one that was saved, and not damaged bytes that would spin for ever.
inline bool IsSane(double element) { return std::abs(element) < 1e9; }

template <class Real>
struct Outcome {
  Real reward;
  Mask<Real> terminated;
};

}  // namespace muster::envs
