// Fully connected layer with its parameters "<name>.weight" [out, in] and "<name>.bias" [out].
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "nn/parameters.h"
#include "tensor/kernels/linear.h"

namespace muster::nn {

struct LinearOptions {
  std::size_t in = 0;
  std::size_t out = 0;
  bool bias = true;
  Activation activation = Activation::kNone;
  Initialization initialization = Initialization::kKaimingNormal;  // Of the weights.
  std::optional<float> gain =
      std::nullopt;  // Of the weights at the start; nothing = the activation's.
};

// The gain that keeps the variance of a signal through `activation` (PyTorch's calculate_gain).
float InitializationGain(Activation activation);

class Linear {
 public:
  // Weights as the options say, zero bias.
  Linear(ParameterSet& parameters, const std::string& name, const LinearOptions& options);

  // x [rows, in] -> [rows, out].
  Tensor Forward(Tape& tape, Tensor x) const;

 private:
  std::string name_;
  LinearOptions options_;
  std::size_t weight_;
  std::size_t bias_ = 0;
};

}  // namespace muster::nn
