// Multi-layer perceptron.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/status.h"
#include "nn/models/model.h"
#include "tensor/kernels/activation.h"

namespace muster::nn {

struct MlpOptions {
  std::size_t inputs = 0;           // Elements of a sample.
  std::vector<std::size_t> hidden;  // Widths of the hidden layers; may be empty.
  std::size_t outputs = 0;
  Activation activation = Activation::kRelu;
  bool layer_norm = false;  // After each hidden layer's product, before its activation.
};

// kInvalidArgument for a zero width; the message names the option.
Result<std::unique_ptr<Model>> MakeMlp(const MlpOptions& options);

}  // namespace muster::nn
