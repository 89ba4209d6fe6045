// The head of a language model and its loss in one: logits = x W^T and their cross-entropy with the
// targets, without ever holding the logits of more than a slice of the vocabulary.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/autograd/tape.h"

namespace muster::ops {

// Of a row whose target is this nothing is asked: its loss and its gradient are 0.
inline constexpr std::int32_t kNoTarget = -1;

struct TokenScores {
  Tensor loss;  // One element, f32: scale * sum over rows of weight * -log_prob.
  // By row; they live in the tape's arena. 0 where there is no target.
  std::span<const float> log_probs;  // ln softmax(logits)[target].
  std::span<const float> entropies;  // -sum p ln p, in nats.
};

// x [rows, width] and weight [vocabulary, width], both f32 or both bf16; the logits are f32. One
// target a row, kNoTarget or in [0, vocabulary); `weights` one a row, or none for 1 each. Gradients
// flow through the loss only. The vocabulary is taken in slices of fixed size with a running
// maximum and sum; the backward pass makes each slice's logits again.
TokenScores LinearCrossEntropy(Tape& tape, Tensor x, Tensor weight,
                               std::span<const std::int32_t> targets,
                               std::span<const float> weights = {}, float scale = 1.0F);

// The logits [rows, vocabulary] themselves, f32, with the same bits: for sampling. In inference
// only.
Tensor Logits(Tape& tape, Tensor x, Tensor weight);

}  // namespace muster::ops
