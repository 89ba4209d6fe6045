// LoRA: a frozen linear layer and a trained correction of low rank beside it.
//   y = x W^T + b + (alpha / rank) dropout(x) A^T B^T
// Source: Hu et al., arXiv:2106.09685; names and starting values as in Hugging Face's PEFT.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "base/random_key.h"
#include "nn/parameters.h"

namespace muster::nn {

struct LoraOptions {
  std::size_t rank = 8;
  float alpha = 16;
  float dropout = 0;  // Of the correction's input, in training.
};

class LoraLinear {
 public:
  // Wraps the layer of parameters `weight` [out, in], named "<layer>.weight", and `bias` [out], if
  // it has one: freezes both and adds "<layer>.lora_A.weight" [rank, in], uniform in
  // +-1 / sqrt(in), and "<layer>.lora_B.weight" [out, rank], zeros, so that training starts from
  // the wrapped layer's function. Throws ContractViolation where rank is 0.
  LoraLinear(ParameterSet& parameters, std::size_t weight, std::optional<std::size_t> bias,
             const LoraOptions& options);

  // x [rows, in] -> [rows, out]; an activation is the caller's. `key` is of this layer and step;
  // see Dropout. In inference nothing is dropped.
  Tensor Forward(Tape& tape, Tensor x, const RandomKey& key = {}) const;

  // W += (alpha / rank) B A in the flat vector of values; B becomes zero, so that Forward computes
  // the same as before up to rounding, and merging twice changes nothing.
  void Merge(const ParameterSet& parameters, std::span<float> values) const;

 private:
  LoraOptions options_;
  std::size_t weight_;
  std::optional<std::size_t> bias_;
  std::size_t a_, b_;
};

}  // namespace muster::nn
