// Convolutional classifier: blocks of conv - [group norm] - activation - max pool, then an MLP.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/status.h"
#include "nn/models/model.h"
#include "tensor/kernels/activation.h"

namespace muster::nn {

struct CnnOptions {
  std::size_t height = 28;
  std::size_t width = 28;
  std::size_t input_channels = 1;
  std::vector<std::size_t> conv_channels = {32, 64};  // One block each; at least one.
  std::size_t kernel = 3;       // Odd; padded so that a convolution keeps height and width.
  std::size_t pool = 2;         // Window and stride of the max pool after each block; 1 = none.
  std::size_t norm_groups = 0;  // Groups of the group norm, dividing every block; 0 = no norm.
  std::vector<std::size_t> hidden = {128};
  std::size_t outputs = 10;
  Activation activation = Activation::kRelu;
};

// kInvalidArgument with the option's name for zero sizes, an even kernel, groups that do not divide
// the channels, or an image that the pools shrink to nothing.
Result<std::unique_ptr<Model>> MakeCnn(const CnnOptions& options);

}  // namespace muster::nn
