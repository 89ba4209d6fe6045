#include "nn/models/resnet.h"

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "nn/layers/conv2d.h"
#include "nn/layers/linear.h"
#include "nn/layers/norms.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/pool2d.h"

namespace muster::nn {

namespace {

constexpr std::size_t kStagesMax = 8;
constexpr std::size_t kMeanMax = 16;  // Largest window of ops::AvgPool2d.

// Of a 3x3 convolution with padding 1, or a 1x1 convolution without.
std::size_t AfterStride(std::size_t size, std::size_t stride) { return (size - 1) / stride + 1; }

std::size_t LastSize(const ResnetOptions& options) {
  std::size_t size = options.height;
  for (std::size_t stage = 1; stage < options.stages; ++stage) size = AfterStride(size, 2);
  return size;
}

// A convolution without bias and the norm behind it.
struct NormedConvolution {
  NormedConvolution(ParameterSet& parameters, const std::string& convolution_name,
                    const std::string& norm_name, const Conv2dLayerOptions& options,
                    std::size_t groups)
      : convolution(parameters, convolution_name, options),
        norm(parameters, norm_name, options.out, groups) {}

  Tensor Forward(Tape& tape, Tensor x) const {
    return norm.Forward(tape, convolution.Forward(tape, x));
  }

  Conv2d convolution;
  GroupNorm norm;
};

Conv2dLayerOptions ResnetConvolution(std::size_t in, std::size_t out, std::size_t kernel,
                                     std::size_t stride) {
  return {.in = in,
          .out = out,
          .kernel = kernel,
          .stride = stride,
          .padding = kernel / 2,
          .bias = false,
          .gain = std::sqrt(2.0F)};
}

struct Block {
  Block(ParameterSet& parameters, const std::string& name, std::size_t in, std::size_t out,
        std::size_t stride, std::size_t groups)
      : first(parameters, name + ".conv1", name + ".bn1", ResnetConvolution(in, out, 3, stride),
              groups),
        second(parameters, name + ".conv2", name + ".bn2", ResnetConvolution(out, out, 3, 1),
               groups) {
    if (in == out && stride == 1) return;
    shortcut.emplace(parameters, name + ".downsample.0", name + ".downsample.1",
                     ResnetConvolution(in, out, 1, stride), groups);
  }

  Tensor Forward(Tape& tape, Tensor x) const {
    const Tensor inner = ops::Relu(tape, first.Forward(tape, x));
    const Tensor branch = second.Forward(tape, inner);
    const Tensor straight = shortcut ? shortcut->Forward(tape, x) : x;
    return ops::Relu(tape, ops::Add(tape, straight, branch));
  }

  NormedConvolution first, second;
  std::optional<NormedConvolution> shortcut;
};

class Resnet : public Model {
 public:
  explicit Resnet(const ResnetOptions& options)
      : options_(options),
        stem_(parameters_, "conv1", "bn1",
              ResnetConvolution(options.input_channels, options.base_channels, 3, 1),
              options.norm_groups) {
    std::size_t channels = options.base_channels;
    for (std::size_t stage = 0; stage < options.stages; ++stage) {
      const std::size_t out = options.base_channels << stage;
      for (std::size_t block = 0; block < options.blocks; ++block) {
        const std::size_t stride = stage > 0 && block == 0 ? 2 : 1;
        blocks_.emplace_back(parameters_,
                             "layer" + std::to_string(stage + 1) + "." + std::to_string(block),
                             channels, out, stride, options.norm_groups);
        channels = out;
      }
    }
    head_.emplace_back(parameters_, "fc", LinearOptions{.in = channels, .out = options.outputs});
  }

  Tensor Forward(Tape& tape, Tensor x) const override {
    x = ops::Relu(tape, stem_.Forward(tape, x));
    for (const Block& block : blocks_) x = block.Forward(tape, x);
    const std::size_t size = LastSize(options_);
    x = ops::AvgPool2d(tape, x, {.kernel = size, .stride = size});
    return head_.front().Forward(tape, ops::Flatten(tape, x));
  }

  Shape input_shape() const override {
    return {options_.height, options_.width, options_.input_channels};
  }
  std::size_t outputs() const override { return options_.outputs; }

 private:
  ResnetOptions options_;
  NormedConvolution stem_;
  std::vector<Block> blocks_;
  std::vector<Linear> head_;  // One.
};

Status Validate(const ResnetOptions& options) {
  if (options.height == 0 || options.width == 0 || options.input_channels == 0) {
    return InvalidArgument("resnet: height, width and input_channels must be above 0");
  }
  if (options.stages == 0 || options.stages > kStagesMax) {
    return InvalidArgument("resnet: stages is " + std::to_string(options.stages) + "; take 1 to " +
                           std::to_string(kStagesMax));
  }
  if (options.blocks == 0 || options.base_channels == 0 || options.outputs == 0) {
    return InvalidArgument("resnet: blocks, base_channels and outputs must be above 0");
  }
  if (options.norm_groups == 0 || options.base_channels % options.norm_groups != 0) {
    return InvalidArgument("resnet: norm_groups " + std::to_string(options.norm_groups) +
                           " does not divide base_channels " +
                           std::to_string(options.base_channels));
  }
  const std::string image = std::to_string(options.height) + "x" + std::to_string(options.width);
  if (options.height != options.width) {
    return InvalidArgument("resnet: images of " + image + " are not square");
  }
  const std::string last = std::to_string(LastSize(options));
  if (LastSize(options) <= kMeanMax) return {};
  return InvalidArgument("resnet: images of " + image + " are still " + last + "x" + last +
                         " after " + std::to_string(options.stages) +
                         " stages, and the most is 16x16; take more stages");
}

}  // namespace

Result<std::unique_ptr<Model>> MakeResnet(const ResnetOptions& options) {
  MUSTER_RETURN_IF_ERROR(Validate(options));
  return std::unique_ptr<Model>(std::make_unique<Resnet>(options));
}

}  // namespace muster::nn
