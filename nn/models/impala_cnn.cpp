#include "nn/models/impala_cnn.h"

#include <algorithm>
#include <cmath>

#include "nn/models/torso_model.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/pool2d.h"

namespace muster::nn {

namespace {

constexpr ops::Pool2dOptions kPool = {.kernel = 3, .stride = 2, .padding = 1};

std::size_t AfterPool(std::size_t size) {
  return (size + 2 * kPool.padding - kPool.kernel) / kPool.stride + 1;
}

Conv2dLayerOptions ImpalaConvolution(std::size_t in, std::size_t out, bool relu, float gain) {
  return {.in = in,
          .out = out,
          .kernel = 3,
          .padding = 1,
          .relu = relu,
          .initialization = Initialization::kOrthogonal,
          .gain = gain};
}

}  // namespace

ImpalaTorso::ImpalaTorso(ParameterSet& parameters, const std::string& name,
                         const ImpalaCnnOptions& options)
    : pixel_scale_(options.pixel_scale) {
  // A branch's two relus halve the variance, its convolutions multiply it by gain^2 each: gain^4 /
  // 4 of it is added, which is 1 / branches.
  const auto branches = static_cast<float>(options.stacks.size() * options.blocks);
  const float gain = std::sqrt(2.0F) * std::pow(branches, -0.25F);
  std::size_t height = options.height, width = options.width, channels = options.channels;
  for (const std::size_t out : options.stacks) {
    const std::string stack = name + "." + std::to_string(stacks_.size());
    stacks_.push_back(
        {Conv2d(parameters, stack + ".conv", ImpalaConvolution(channels, out, false, 1.0F)), {}});
    for (std::size_t i = 0; i < options.blocks; ++i) {
      const std::string block = stack + ".block." + std::to_string(i) + ".conv.";
      const Conv2d first(parameters, block + "0", ImpalaConvolution(out, out, true, gain));
      const Conv2d second(parameters, block + "1", ImpalaConvolution(out, out, false, gain));
      stacks_.back().blocks.push_back({first, second});
    }
    height = AfterPool(height);
    width = AfterPool(width);
    channels = out;
  }
  hidden_.emplace_back(parameters, name + ".hidden",
                       LinearOptions{.in = height * width * channels,
                                     .out = options.hidden,
                                     .activation = Activation::kRelu,
                                     .initialization = Initialization::kOrthogonal});
}

Tensor ImpalaTorso::Forward(Tape& tape, Tensor x) const {
  if (pixel_scale_ != 1.0F) x = ops::Scale(tape, x, pixel_scale_);
  for (const Stack& stack : stacks_) {
    x = ops::MaxPool2d(tape, stack.before.Forward(tape, x), kPool);
    for (const Block& block : stack.blocks) {
      const Tensor inner = block.first.Forward(tape, ops::Relu(tape, x));
      x = ops::Add(tape, x, block.second.Forward(tape, inner));
    }
  }
  return hidden_.front().Forward(tape, ops::Flatten(tape, ops::Relu(tape, x)));
}

Result<std::unique_ptr<Model>> MakeImpalaCnn(const ImpalaCnnOptions& options) {
  if (options.height == 0 || options.width == 0 || options.channels == 0) {
    return InvalidArgument("impala_cnn: height, width and channels must be above 0");
  }
  if (options.stacks.empty() || std::count(options.stacks.begin(), options.stacks.end(), 0U) > 0) {
    return InvalidArgument("impala_cnn: stacks needs at least one, each of at least one channel");
  }
  if (options.blocks == 0 || options.hidden == 0 || options.outputs == 0) {
    return InvalidArgument("impala_cnn: blocks, hidden and outputs must be above 0");
  }
  return std::unique_ptr<Model>(
      std::make_unique<TorsoModel<ImpalaTorso, ImpalaCnnOptions>>(options));
}

}  // namespace muster::nn
