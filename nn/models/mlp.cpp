#include "nn/models/mlp.h"

#include <string>

#include "nn/layers/linear.h"
#include "nn/layers/norms.h"
#include "tensor/kernels/elementwise.h"

namespace muster::nn {

namespace {

class Mlp : public Model {
 public:
  explicit Mlp(const MlpOptions& options) : options_(options) {
    std::size_t width = options.inputs;
    for (std::size_t i = 0; i < options.hidden.size(); ++i) {
      const std::string name = "layers." + std::to_string(i);
      layers_.emplace_back(
          parameters_, name,
          LinearOptions{.in = width,
                        .out = options.hidden[i],
                        .activation = options.layer_norm ? Activation::kNone : options.activation});
      if (options.layer_norm) norms_.emplace_back(parameters_, name + ".norm", options.hidden[i]);
      width = options.hidden[i];
    }
    layers_.emplace_back(parameters_, "layers." + std::to_string(options.hidden.size()),
                         LinearOptions{.in = width, .out = options.outputs});
  }

  Tensor Forward(Tape& tape, Tensor x) const override {
    x = x.shape().rank() == 2 ? x : ops::Flatten(tape, x);
    for (std::size_t i = 0; i + 1 < layers_.size(); ++i) {
      x = layers_[i].Forward(tape, x);
      if (options_.layer_norm) {
        x = ops::Activate(tape, norms_[i].Forward(tape, x), options_.activation);
      }
    }
    return layers_.back().Forward(tape, x);
  }

  Shape input_shape() const override { return {options_.inputs}; }
  std::size_t outputs() const override { return options_.outputs; }

 private:
  MlpOptions options_;
  std::vector<Linear> layers_;
  std::vector<LayerNorm> norms_;
};

}  // namespace

Result<std::unique_ptr<Model>> MakeMlp(const MlpOptions& options) {
  if (options.inputs == 0) return InvalidArgument("mlp: inputs is 0");
  if (options.outputs == 0) return InvalidArgument("mlp: outputs is 0");
  for (std::size_t i = 0; i < options.hidden.size(); ++i) {
    if (options.hidden[i] == 0) {
      return InvalidArgument("mlp: hidden layer " + std::to_string(i) + " has width 0");
    }
  }
  return std::unique_ptr<Model>(std::make_unique<Mlp>(options));
}

}  // namespace muster::nn
