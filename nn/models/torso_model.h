// TorsoModel: a torso and one linear layer for its features.
#pragma once

#include "nn/layers/linear.h"
#include "nn/models/model.h"

namespace muster::nn {

// Parameters "torso..." and "head", whose weights are orthogonal with the gain options.output_gain.
// `Options` are the torso's, with height, width, channels, hidden and outputs.
template <class Torso, class Options>
class TorsoModel : public Model {
 public:
  explicit TorsoModel(const Options& options)
      : options_(options),
        torso_(parameters_, "torso", options),
        head_(parameters_, "head",
              {.in = options.hidden,
               .out = options.outputs,
               .initialization = Initialization::kOrthogonal,
               .gain = options.output_gain}) {}

  Tensor Forward(Tape& tape, Tensor x) const override {
    return head_.Forward(tape, torso_.Forward(tape, x));
  }
  Shape input_shape() const override {
    return {options_.height, options_.width, options_.channels};
  }
  std::size_t outputs() const override { return options_.outputs; }

 private:
  Options options_;
  Torso torso_;
  Linear head_;
};

}  // namespace muster::nn
