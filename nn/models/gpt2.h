// GPT-2: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019). Pre-norm
// blocks, learnt positions, the output layer tied to the token embedding.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "nn/models/token_batch.h"
#include "nn/parameters.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/linear_cross_entropy.h"
#include "tensor/kernels/row_norm.h"

namespace muster::nn {

struct Gpt2Options {  // The 124 million parameter model.
  std::size_t layers = 12;
  std::size_t heads = 12;
  std::size_t width = 768;
  std::size_t vocabulary = 50'257;
  std::size_t context = 1'024;  // Positions.
  float epsilon = 1e-5F;        // Of the norms.
};

// Parameters are named as in Hugging Face's GPT2LMHeadModel ("transformer.h.0.attn.c_attn.weight");
// matrices are [out, in], the transpose of what its Conv1D keeps. The same object serves any number
// of tapes and threads; the values live with the caller, in f32 or bf16.
class Gpt2 {
 public:
  // kInvalidArgument when a size is 0 or the heads do not divide the width.
  static Result<std::unique_ptr<Gpt2>> Make(const Gpt2Options& options);

  const ParameterSet& parameters() const { return parameters_; }
  const Gpt2Options& options() const { return options_; }

  // The last hidden states [tokens, width], normalised: what the output layer takes.
  Tensor Hidden(Tape& tape, const TokenBatch& batch,
                Activations activations = Activations::kKeep) const;
  // The output layer and its loss; see LinearCrossEntropy.
  ops::TokenScores Loss(Tape& tape, Tensor hidden, std::span<const std::int32_t> targets,
                        std::span<const float> weights, float scale) const;

 private:
  struct Matrix {
    std::size_t weight, bias;
  };
  struct Block {
    std::string name;  // "transformer.h.0"
    Matrix norm1, attention, attention_out, norm2, mlp, mlp_out;
  };

  // What the block adds to the stream: the last summand alone, and the stream without it.
  struct Halves {
    Tensor stream, added;
  };
  Halves Run(Tape& tape, const Block& block, Tensor stream, Tensor normed,
             const TokenBatch& batch) const;
  Tensor Norm(Tape& tape, Tensor x, const Matrix& norm) const;
  ops::SumAndNorm AddNorm(Tape& tape, Tensor x, Tensor stream, const Matrix& norm) const;

  explicit Gpt2(const Gpt2Options& options);
  Matrix AddMatrix(const std::string& name, std::size_t in, std::size_t out, float deviation);
  Matrix AddNormParameters(const std::string& name);
  Tensor Linear(Tape& tape, Tensor x, const Matrix& matrix,
                Activation activation = Activation::kNone) const;

  Gpt2Options options_;
  ParameterSet parameters_;
  std::size_t tokens_, positions_;
  std::vector<Block> blocks_;
  Matrix last_norm_;
};

}  // namespace muster::nn
