// Categorical distributions given by logits, one or several (multi-discrete) to a row: log-
// probabilities of actions and entropy in one pass, samples, and the most probable actions.
//
// logits [rows, width], f32 or bf16; everything else is f32. `sizes` cuts a row into independent
// categoricals, one after the other; they are positive and add up to the width. `actions`
// [rows, sizes.size()]: the class of each, from 0.
// A logit of -infinity is a class that cannot be taken (a masked action): probability 0, no
// gradient, no part in the entropy. A row with NaN, +infinity or nothing but -infinity has NaN for
// log-probability and entropy. A row whose log-probability and entropy get a gradient of 0 (masked
// out by the loss) passes 0 on, whatever its logits are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/kernels/distribution.h"

namespace muster {

namespace ops {

// log_probs[r] = the sum over the categoricals of ln softmax(logits)[action]; entropy[r] = the sum
// of -sum p ln p. Refuses an action out of range.
LogProbsAndEntropy MultiCategorical(Tape& tape, Tensor logits, std::span<const std::size_t> sizes,
                                    std::span<const std::int32_t> actions);

// One categorical to a row; actions [rows].
LogProbsAndEntropy Categorical(Tape& tape, Tensor logits, std::span<const std::int32_t> actions);

}  // namespace ops

// Draws actions by inversion, 53 random bits to a categorical, and tells their log-probabilities
// with the bits that MultiCategorical gives for them; log_probs [rows] may be empty. A row without
// a distribution (see above) draws 0 and tells NaN.
void SampleCategorical(Tensor logits, std::span<const std::size_t> sizes,
                       std::span<const RandomKey> keys, std::span<std::int32_t> actions,
                       std::span<float> log_probs, ThreadPool* pool = nullptr);

// The first most probable class of each categorical.
void CategoricalMode(Tensor logits, std::span<const std::size_t> sizes,
                     std::span<std::int32_t> actions);

}  // namespace muster
