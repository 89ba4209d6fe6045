// Layer norm and group norm with their parameters "<name>.weight" (ones) and "<name>.bias" (zeros).
#pragma once

#include <cstddef>
#include <string>

#include "nn/parameters.h"
#include "tensor/kernels/group_norm.h"
#include "tensor/kernels/row_norm.h"

namespace muster::nn {

class LayerNorm {
 public:
  LayerNorm(ParameterSet& parameters, const std::string& name, std::size_t width);
  Tensor Forward(Tape& tape, Tensor x) const;  // x [.., width]

 private:
  std::size_t gain_, bias_;
};

class GroupNorm {
 public:
  // `groups` divides `channels`.
  GroupNorm(ParameterSet& parameters, const std::string& name, std::size_t channels,
            std::size_t groups);
  Tensor Forward(Tape& tape, Tensor x) const;  // x [samples, height, width, channels]

 private:
  std::size_t gain_, bias_, groups_;
};

}  // namespace muster::nn
