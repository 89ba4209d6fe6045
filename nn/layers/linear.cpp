#include "nn/layers/linear.h"

#include <cmath>

namespace muster::nn {

float InitializationGain(Activation activation) {
  switch (activation) {
    case Activation::kNone:
    case Activation::kSigmoid:
      return 1.0F;
    case Activation::kTanh:
      return 5.0F / 3.0F;
    case Activation::kRelu:
    case Activation::kGelu:
    case Activation::kGeluTanh:
    case Activation::kSilu:
    case Activation::kSoftplus:
      return std::sqrt(2.0F);
  }
  return 1.0F;
}

Linear::Linear(ParameterSet& parameters, const std::string& name, const LinearOptions& options)
    : name_(name),
      options_(options),
      weight_(parameters.Add({.name = name + ".weight",
                              .shape = {options.out, options.in},
                              .initialization = options.initialization,
                              .gain = options.gain.value_or(InitializationGain(options.activation)),
                              .fan_in = options.in})) {
  if (options.bias) {
    bias_ = parameters.Add({.name = name + ".bias", .shape = {options.out}, .decay = false});
  }
}

Tensor Linear::Forward(Tape& tape, Tensor x) const {
  const Tape::Scope scope(tape, name_);
  const Tensor bias = options_.bias ? tape.Parameter(bias_) : Tensor();
  return ops::Linear(tape, x, tape.Parameter(weight_), bias, options_.activation);
}

}  // namespace muster::nn
