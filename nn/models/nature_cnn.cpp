#include "nn/models/nature_cnn.h"

#include "nn/models/torso_model.h"
#include "tensor/kernels/elementwise.h"

namespace muster::nn {

namespace {

struct Stage {
  std::size_t out, kernel, stride;
};
constexpr Stage kStages[] = {{32, 8, 4}, {64, 4, 2}, {64, 3, 1}};
constexpr std::size_t kSmallest = 36;  // (((1 + 2) - 1) * 2 + 4 - 1) * 4 + 8.

std::size_t After(const Stage& stage, std::size_t size) {
  return (size - stage.kernel) / stage.stride + 1;
}

}  // namespace

NatureTorso::NatureTorso(ParameterSet& parameters, const std::string& name,
                         const NatureCnnOptions& options)
    : pixel_scale_(options.pixel_scale) {
  std::size_t height = options.height, width = options.width, channels = options.channels;
  for (const Stage& stage : kStages) {
    convolutions_.emplace_back(parameters, name + ".conv." + std::to_string(convolutions_.size()),
                               Conv2dLayerOptions{.in = channels,
                                                  .out = stage.out,
                                                  .kernel = stage.kernel,
                                                  .stride = stage.stride,
                                                  .padding = 0,
                                                  .relu = true,
                                                  .initialization = Initialization::kOrthogonal});
    height = After(stage, height);
    width = After(stage, width);
    channels = stage.out;
  }
  hidden_.emplace_back(parameters, name + ".hidden",
                       LinearOptions{.in = height * width * channels,
                                     .out = options.hidden,
                                     .activation = Activation::kRelu,
                                     .initialization = Initialization::kOrthogonal});
}

Tensor NatureTorso::Forward(Tape& tape, Tensor x) const {
  if (pixel_scale_ != 1.0F) x = ops::Scale(tape, x, pixel_scale_);
  for (const Conv2d& convolution : convolutions_) x = convolution.Forward(tape, x);
  return hidden_.front().Forward(tape, ops::Flatten(tape, x));
}

Result<std::unique_ptr<Model>> MakeNatureCnn(const NatureCnnOptions& options) {
  if (options.height < kSmallest || options.width < kSmallest) {
    return InvalidArgument("nature_cnn: height and width must be at least 36");
  }
  if (options.channels == 0 || options.hidden == 0 || options.outputs == 0) {
    return InvalidArgument("nature_cnn: channels, hidden and outputs must be above 0");
  }
  return std::unique_ptr<Model>(
      std::make_unique<TorsoModel<NatureTorso, NatureCnnOptions>>(options));
}

}  // namespace muster::nn
