#include "nn/models/cnn.h"

#include <string>

#include "nn/layers/conv2d.h"
#include "nn/layers/linear.h"
#include "nn/layers/norms.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/pool2d.h"

namespace muster::nn {

namespace {

class Cnn : public Model {
 public:
  explicit Cnn(const CnnOptions& options) : options_(options) {
    const bool fused = options.norm_groups == 0 && options.activation == Activation::kRelu;
    std::size_t channels = options.input_channels;
    std::size_t height = options.height;
    std::size_t width = options.width;
    for (std::size_t i = 0; i < options.conv_channels.size(); ++i) {
      const std::string name = "conv." + std::to_string(i);
      convolutions_.emplace_back(parameters_, name,
                                 Conv2dLayerOptions{.in = channels,
                                                    .out = options.conv_channels[i],
                                                    .kernel = options.kernel,
                                                    .padding = options.kernel / 2,
                                                    .relu = fused,
                                                    .max_pool = fused ? options.pool : 1});
      channels = options.conv_channels[i];
      if (options.norm_groups > 0) {
        norms_.emplace_back(parameters_, name + ".norm", channels, options.norm_groups);
      }
      height /= options.pool;
      width /= options.pool;
    }
    std::size_t features = height * width * channels;
    for (std::size_t i = 0; i < options.hidden.size(); ++i) {
      head_.emplace_back(
          parameters_, "head." + std::to_string(i),
          LinearOptions{
              .in = features, .out = options.hidden[i], .activation = options.activation});
      features = options.hidden[i];
    }
    head_.emplace_back(parameters_, "head." + std::to_string(options.hidden.size()),
                       LinearOptions{.in = features, .out = options.outputs});
  }

  Tensor Forward(Tape& tape, Tensor x) const override {
    const bool fused = options_.norm_groups == 0 && options_.activation == Activation::kRelu;
    for (std::size_t i = 0; i < convolutions_.size(); ++i) {
      x = convolutions_[i].Forward(tape, x);
      if (fused) continue;
      if (options_.norm_groups > 0) x = norms_[i].Forward(tape, x);
      x = ops::Activate(tape, x, options_.activation);
      if (options_.pool > 1) {
        x = ops::MaxPool2d(tape, x, {.kernel = options_.pool, .stride = options_.pool});
      }
    }
    x = ops::Flatten(tape, x);
    for (const Linear& layer : head_) x = layer.Forward(tape, x);
    return x;
  }

  Shape input_shape() const override {
    return {options_.height, options_.width, options_.input_channels};
  }
  std::size_t outputs() const override { return options_.outputs; }

 private:
  CnnOptions options_;
  std::vector<Conv2d> convolutions_;
  std::vector<GroupNorm> norms_;
  std::vector<Linear> head_;
};

Status Validate(const CnnOptions& options) {
  if (options.height == 0 || options.width == 0 || options.input_channels == 0) {
    return InvalidArgument("cnn: height, width and input_channels must be above 0");
  }
  if (options.conv_channels.empty()) return InvalidArgument("cnn: channels is empty");
  if (options.kernel % 2 == 0) {
    return InvalidArgument("cnn: kernel is " + std::to_string(options.kernel) + "; it must be odd");
  }
  if (options.pool == 0 || options.pool > 16) {
    return InvalidArgument("cnn: pool is " + std::to_string(options.pool) + "; take 1 to 16");
  }
  if (options.outputs == 0) return InvalidArgument("cnn: outputs is 0");
  std::size_t height = options.height;
  std::size_t width = options.width;
  for (const std::size_t channels : options.conv_channels) {
    if (channels == 0) return InvalidArgument("cnn: channels has a 0");
    if (options.norm_groups > 0 && channels % options.norm_groups != 0) {
      return InvalidArgument("cnn: norm_groups " + std::to_string(options.norm_groups) +
                             " does not divide " + std::to_string(channels) + " channels");
    }
    height /= options.pool;
    width /= options.pool;
    if (height == 0 || width == 0) {
      return InvalidArgument("cnn: " + std::to_string(options.conv_channels.size()) +
                             " pools shrink the image to nothing; take fewer channels or a "
                             "smaller pool");
    }
  }
  for (const std::size_t hidden : options.hidden) {
    if (hidden == 0) return InvalidArgument("cnn: hidden has a 0");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Model>> MakeCnn(const CnnOptions& options) {
  MUSTER_RETURN_IF_ERROR(Validate(options));
  return std::unique_ptr<Model>(std::make_unique<Cnn>(options));
}

}  // namespace muster::nn
