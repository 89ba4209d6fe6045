// The convolutional network of Mnih et al., "Human-level control through deep reinforcement
// learning", Nature 518 (2015): 32 8x8/4, 64 4x4/2 and 64 3x3/1 convolutions without padding and a
// hidden layer of 512, each with a relu.
//
// Orthogonal weights with gain sqrt 2, zero biases (Huang et al., "The 37 implementation details of
// proximal policy optimization", ICLR blog track 2022, detail 2).
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

struct NatureCnnOptions {
  std::size_t height = 84;  // At least 36, as the width.
  std::size_t width = 84;
  std::size_t channels = 4;  // Frames.
  std::size_t hidden = 512;
  float pixel_scale = 1.0F / 255.0F;  // Pixels are multiplied by it; 1 = they are scaled already.
  std::size_t outputs = 0;            // Of the model's last layer: actions.
  float output_gain = 0.01F;          // Of that layer: 0.01 for a policy, 1 for values.
};

// All but the last layer, for an actor and a critic to share. The options are valid ones.
class NatureTorso {
 public:
  NatureTorso(ParameterSet& parameters, const std::string& name, const NatureCnnOptions& options);

  // x [samples, height, width, channels], f32 or bf16 -> features [samples, hidden].
  Tensor Forward(Tape& tape, Tensor x) const;

 private:
  float pixel_scale_;
  std::vector<Conv2d> convolutions_;
  std::vector<Linear> hidden_;  // One.
};

// The torso "torso.conv.0" to "torso.conv.2", "torso.hidden", and the last layer "head".
// kInvalidArgument with the option's name for zeros and images that are too small.
Result<std::unique_ptr<Model>> MakeNatureCnn(const NatureCnnOptions& options);

}  // namespace muster::nn
