// The residual network of Espeholt et al., "IMPALA", arXiv:1802.01561, figure 3 (right): three
// stacks, each a 3x3 convolution, a 3x3/2 max pool and two residual blocks x + conv(relu(conv(relu
// x))), then relu, a hidden layer and relu.
//
// Orthogonal weights, zero biases: gain 1 for a stack's first convolution, sqrt 2 for the hidden
// layer. Stacks x blocks branches add to the signal; each one's two gains are such that all of them
// together add about as much as there was (the scales of Cobbe et al., arXiv:2009.04416).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "nn/layers/conv2d.h"
#include "nn/layers/linear.h"
#include "nn/models/model.h"

namespace muster::nn {

struct ImpalaCnnOptions {
  std::size_t height = 84;
  std::size_t width = 84;
  std::size_t channels = 4;
  std::vector<std::size_t> stacks = {16, 32, 32};  // Channels of each; at least one.
  std::size_t blocks = 2;                          // Residual blocks of a stack.
  std::size_t hidden = 256;
  float pixel_scale = 1.0F / 255.0F;  // Pixels are multiplied by it; 1 = they are scaled already.
  std::size_t outputs = 0;            // Of the model's last layer: actions.
  float output_gain = 0.01F;          // Of that layer: 0.01 for a policy, 1 for values.
};

// All but the last layer, for an actor and a critic to share. The options are valid ones.
class ImpalaTorso {
 public:
  ImpalaTorso(ParameterSet& parameters, const std::string& name, const ImpalaCnnOptions& options);

  // x [samples, height, width, channels], f32 or bf16 -> features [samples, hidden].
  Tensor Forward(Tape& tape, Tensor x) const;

 private:
  struct Block {
    Conv2d first, second;
  };
  struct Stack {
    Conv2d before;
    std::vector<Block> blocks;
  };

  float pixel_scale_;
  std::vector<Stack> stacks_;
  std::vector<Linear> hidden_;  // One.
};

// The torso "torso.0.conv", "torso.0.block.0.conv.0", .., "torso.hidden", and the last layer
// "head". kInvalidArgument with the option's name for zeros.
Result<std::unique_ptr<Model>> MakeImpalaCnn(const ImpalaCnnOptions& options);

}  // namespace muster::nn
