// Model: parameters and a forward function. Immutable once made, so any number of tapes on any
// threads may run it at once; the values live with the caller.
#pragma once

#include <cstddef>

#include "nn/parameters.h"
#include "tensor/autograd/tape.h"

namespace muster::nn {

class Model {
 public:
  Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  virtual ~Model() = default;

  // x [samples, ...input_shape()] (an MLP takes any shape with as many elements a sample) ->
  // logits [samples, outputs()].
  virtual Tensor Forward(Tape& tape, Tensor x) const = 0;

  virtual Shape input_shape() const = 0;  // Of one sample.
  virtual std::size_t outputs() const = 0;
  const ParameterSet& parameters() const { return parameters_; }

 protected:
  ParameterSet parameters_;
};

}  // namespace muster::nn
