// Residual network for small images (28x28, 32x32): He et al., "Deep residual learning for image
// recognition", arXiv:1512.03385, section 4.2. With three stages of n blocks it has the paper's
// 6n + 2 layers: n = 3 is ResNet-20, n = 18 ResNet-110.
//
// A 3x3 convolution; stages of blocks relu(x + norm(conv(relu(norm(conv x))))) of 3x3 convolutions,
// each stage but the first beginning with stride 2 and twice the channels; the mean over the image;
// a linear layer. Two things differ from the paper. Group norm stands where it has batch norm,
// since a sample's result must not depend on its batch. And where a block changes the shape, its
// shortcut is a 1x1 convolution with a norm (option B of section 3.3, what torchvision has), not
// zeros.
//
// Kaiming's normal weights (gain sqrt 2) without biases, norms of gain 1, bias 0.
#pragma once

#include <cstddef>
#include <memory>

#include "base/status.h"
#include "nn/models/model.h"

namespace muster::nn {

struct ResnetOptions {
  std::size_t height = 28;  // As the width.
  std::size_t width = 28;
  std::size_t input_channels = 1;
  std::size_t stages = 3;          // 1 to 8.
  std::size_t blocks = 3;          // Residual blocks of a stage, of two convolutions each.
  std::size_t base_channels = 16;  // Of the first stage; each later one has twice as many.
  std::size_t norm_groups = 8;     // Of all norms; divides base_channels.
  std::size_t outputs = 10;
};

// Names are those of torchvision's ResNet, which calls its norms bn whatever they are: "conv1",
// "bn1", "layer1.0.conv1", .., "layer2.0.downsample.0", "layer2.0.downsample.1", .., "fc".
// kInvalidArgument with the option's name for zeros, groups that do not divide the channels, images
// that are not square, or so large that the last stage's are above 16x16.
Result<std::unique_ptr<Model>> MakeResnet(const ResnetOptions& options);

}  // namespace muster::nn
