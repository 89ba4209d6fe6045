#include "nn/layers/norms.h"

namespace muster::nn {

namespace {

std::size_t AddGain(ParameterSet& parameters, const std::string& name, std::size_t width) {
  return parameters.Add({.name = name + ".weight",
                         .shape = {width},
                         .initialization = Initialization::kOnes,
                         .decay = false});
}

std::size_t AddBias(ParameterSet& parameters, const std::string& name, std::size_t width) {
  return parameters.Add({.name = name + ".bias", .shape = {width}, .decay = false});
}

}  // namespace

LayerNorm::LayerNorm(ParameterSet& parameters, const std::string& name, std::size_t width)
    : gain_(AddGain(parameters, name, width)), bias_(AddBias(parameters, name, width)) {}

Tensor LayerNorm::Forward(Tape& tape, Tensor x) const {
  return ops::LayerNorm(tape, x, tape.Parameter(gain_), tape.Parameter(bias_));
}

GroupNorm::GroupNorm(ParameterSet& parameters, const std::string& name, std::size_t channels,
                     std::size_t groups)
    : gain_(AddGain(parameters, name, channels)),
      bias_(AddBias(parameters, name, channels)),
      groups_(groups) {}

Tensor GroupNorm::Forward(Tape& tape, Tensor x) const {
  return ops::GroupNorm(tape, x, tape.Parameter(gain_), tape.Parameter(bias_), groups_);
}

}  // namespace muster::nn
