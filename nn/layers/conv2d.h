// Convolution with its parameters "<name>.weight" [out, in, kernel, kernel] and "<name>.bias".
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "nn/parameters.h"
#include "tensor/kernels/conv2d.h"

namespace muster::nn {

struct Conv2dLayerOptions {
  std::size_t in = 0;
  std::size_t out = 0;
  std::size_t kernel = 3;
  std::size_t stride = 1;
  std::size_t padding = 1;
  bool bias = true;
  bool relu = false;         // Fused.
  std::size_t max_pool = 1;  // Window and stride of a fused max pool; 1 = none.
  Initialization initialization = Initialization::kKaimingNormal;  // Of the weights.
  std::optional<float> gain = std::nullopt;  // Of the weights at the start; nothing = relu's or 1.
};

class Conv2d {
 public:
  // Weights as the options say, zero bias.
  Conv2d(ParameterSet& parameters, const std::string& name, const Conv2dLayerOptions& options);

  // x [samples, height, width, in] -> [samples, out_h, out_w, out]; see ops::Conv2d.
  Tensor Forward(Tape& tape, Tensor x) const;

 private:
  std::string name_;
  Conv2dLayerOptions options_;
  std::size_t weight_;
  std::size_t bias_ = 0;
};

}  // namespace muster::nn
