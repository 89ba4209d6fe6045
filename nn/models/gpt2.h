// GPT-2: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019). Pre-norm
// blocks, learnt positions, the output layer tied to the token embedding.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "nn/models/language_model.h"
#include "tensor/kernels/activation.h"
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
// matrices are [out, in], the transpose of what its Conv1D keeps.
class Gpt2 : public LanguageModel {
 public:
  // kInvalidArgument when a size is 0 or the heads do not divide the width.
  static Result<std::unique_ptr<Gpt2>> Make(const Gpt2Options& options);

  const Gpt2Options& options() const { return options_; }

  std::size_t layers() const override { return options_.layers; }
  std::size_t vocabulary() const override { return options_.vocabulary; }
  std::size_t context() const override { return options_.context; }
  AttentionShape attention_shape() const override {
    return {options_.heads, options_.heads, options_.width / options_.heads};
  }
  Tensor Hidden(Tape& tape, const TokenBatch& batch,
                Activations activations = Activations::kKeep) const override;

 protected:
  std::size_t head() const override { return tokens_; }

 private:
  struct Matrix {
    std::size_t weight, bias;
  };
  struct Block {
    std::string name;  // "transformer.h.0"
    std::size_t layer;
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
  std::size_t tokens_, positions_;
  std::vector<Block> blocks_;
  Matrix last_norm_;
};

}  // namespace muster::nn
