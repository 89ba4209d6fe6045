// What every language model offers: to trainers, and to whoever generates from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "nn/models/token_batch.h"
#include "nn/parameters.h"
#include "tensor/autograd/tape.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/linear_cross_entropy.h"

namespace muster::nn {

// The same object serves any number of tapes and threads; the values of its parameters live with
// the caller, in f32 or bf16.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  const ParameterSet& parameters() const { return parameters_; }

  virtual std::size_t layers() const = 0;
  virtual std::size_t vocabulary() const = 0;
  virtual std::size_t context() const = 0;  // Positions.
  virtual AttentionShape attention_shape() const = 0;

  // The last hidden states [tokens, width], normalised: what the output layer takes. With a cache
  // in the batch the tokens go on where their sequences are; same bits as when read at once.
  virtual Tensor Hidden(Tape& tape, const TokenBatch& batch,
                        Activations activations = Activations::kKeep) const = 0;

  // The output layer and its loss; see LinearCrossEntropy.
  ops::TokenScores Loss(Tape& tape, Tensor hidden, std::span<const std::int32_t> targets,
                        std::span<const float> weights, float scale) const {
    const Tape::Scope scope(tape, "lm_head");
    return ops::LinearCrossEntropy(tape, hidden, tape.Parameter(head()), targets, weights, scale);
  }
  // The output layer alone, f32, in inference.
  Tensor Logits(Tape& tape, Tensor hidden) const {
    const Tape::Scope scope(tape, "lm_head");
    return ops::Logits(tape, hidden, tape.Parameter(head()));
  }

 protected:
  virtual std::size_t head() const = 0;  // The number of the output layer's weight.

  ParameterSet parameters_;
};

}  // namespace muster::nn
