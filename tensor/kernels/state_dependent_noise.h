// Generalised state-dependent exploration (gSDE): a matrix of noise that is drawn once for many
// steps maps features of the state to what is added to the mean action, so that actions are smooth
// in time and spread as the features say.
// Source: Raffin, Kober and Stulp, "Smooth exploration for robotic reinforcement learning",
// arXiv:2005.05719, section 3; in the form of Stable-Baselines3's StateDependentNoiseDistribution
// with its defaults (a deviation for every element of the matrix; the features are not moved).
//
// All f32. A row's bits depend on no other row.
#pragma once

#include <span>

#include "base/random_key.h"
#include "tensor/autograd/tape.h"

namespace muster {

namespace ops {

// x [rows, in], log_std [in, n]; the log deviation of each action,
//   y[r, a] = ln(1e-6 + sum over i of x[r, i]^2 e^(2 log_std[i, a])) / 2  [rows, n],
// what DiagonalGaussian takes as its log_std. No gradient reaches x: exploration shapes no
// features.
Tensor StateDependentLogStd(Tape& tape, Tensor x, Tensor log_std);

}  // namespace ops

// Standard normal numbers for a row's matrix [in * n], four elements to a Philox block.
void DrawNoiseMatrix(const RandomKey& key, std::span<float> noise);

// actions[r, a] = mean[r, a] + sum over i of x[r, i] e^log_std[i, a] noise[r, i, a], with noise
// [rows, in, n] and the rest as above. Their log-probabilities are DiagonalGaussian's.
void StateDependentActions(Tensor mean, Tensor x, Tensor log_std, std::span<const float> noise,
                           std::span<float> actions);

}  // namespace muster
