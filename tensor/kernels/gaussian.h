// Diagonal Gaussian: log-probabilities of actions and entropy in one pass, and samples.
//
// mean [rows, n], f32 or bf16; log_std of the same type, either [n], a parameter of its own for
// every row (its gradient is f32), or [rows, n], computed as the mean is. Everything else is f32.
// log_std may be anything whose exponential f32 holds: beyond -87 or 87 the deviation stays where
// it is. NaN is passed on. A row whose log-probability and entropy get a gradient of 0 (masked out
// by the loss) passes 0 on, whatever is in it.
#pragma once

#include <span>

#include "tensor/kernels/distribution.h"

namespace muster {

namespace ops {

// With z = (action - mean) e^-log_std: log_probs[r] = sum over n of -z^2 / 2 - log_std - ln(2 pi) /
// 2 and entropy[r] = sum of log_std + (1 + ln(2 pi)) / 2. actions [rows, n] are constants: no
// gradient reaches them.
LogProbsAndEntropy DiagonalGaussian(Tape& tape, Tensor mean, Tensor log_std,
                                    std::span<const float> actions);

}  // namespace ops

// actions = mean + e^log_std * noise (four elements to a Philox block, see normal_draw.h) and their
// log-probabilities with the bits that DiagonalGaussian gives for them; log_probs [rows] may be
// empty.
void SampleGaussian(Tensor mean, Tensor log_std, std::span<const RandomKey> keys,
                    std::span<float> actions, std::span<float> log_probs,
                    ThreadPool* pool = nullptr);

}  // namespace muster
