#include "nn/layers/conv2d.h"

#include "nn/layers/linear.h"

namespace muster::nn {

Conv2d::Conv2d(ParameterSet& parameters, const std::string& name, const Conv2dLayerOptions& options)
    : name_(name),
      options_(options),
      weight_(parameters.Add({.name = name + ".weight",
                              .shape = {options.out, options.in, options.kernel, options.kernel},
                              .initialization = options.initialization,
                              .gain = options.gain.value_or(InitializationGain(
                                  options.relu ? Activation::kRelu : Activation::kNone)),
                              .fan_in = options.in * options.kernel * options.kernel})) {
  if (options.bias) {
    bias_ = parameters.Add({.name = name + ".bias", .shape = {options.out}, .decay = false});
  }
}

Tensor Conv2d::Forward(Tape& tape, Tensor x) const {
  const Tape::Scope scope(tape, name_);
  const Tensor bias = options_.bias ? tape.Parameter(bias_) : Tensor();
  return ops::Conv2d(tape, x, tape.Parameter(weight_), bias,
                     {.stride = options_.stride,
                      .padding = options_.padding,
                      .relu = options_.relu,
                      .max_pool = options_.max_pool});
}

}  // namespace muster::nn
