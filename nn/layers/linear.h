// Fully connected layer with its parameters "<name>.weight" [out, in] and "<name>.bias" [out].
#pragma once

#include <cstddef>
#include <string>

#include "nn/parameters.h"
#include "tensor/kernels/linear.h"

namespace muster::nn {

struct LinearOptions {
  std::size_t in = 0;
  std::size_t out = 0;
  bool bias = true;
  Activation activation = Activation::kNone;
};

// The gain that keeps the variance of a signal through `activation` (PyTorch's calculate_gain).
float InitializationGain(Activation activation);

class Linear {
 public:
  // Kaiming-normal weights with the gain of the activation, zero bias.
  Linear(ParameterSet& parameters, const std::string& name, const LinearOptions& options);

  // x [rows, in] -> [rows, out].
  Tensor Forward(Tape& tape, Tensor x) const;

 private:
  LinearOptions options_;
  std::size_t weight_;
  std::size_t bias_ = 0;
};

}  // namespace muster::nn
