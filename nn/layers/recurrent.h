// Recurrent layer, GRU or LSTM, over sequences that run side by side. Parameters bear PyTorch's
// names for one layer and lie in its order of gates: "<name>.weight_ih" [gates * width, in],
// "<name>.weight_hh" [gates * width, width], "<name>.bias_ih" and "<name>.bias_hh" [gates * width].
// The cells are those of tensor/kernels/recurrent.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "nn/parameters.h"
#include "tensor/kernels/recurrent.h"

namespace muster::nn {

enum class RecurrentKind : std::uint8_t { kGru, kLstm };

struct RecurrentOptions {
  RecurrentKind kind = RecurrentKind::kGru;
  std::size_t in = 0;
  std::size_t width = 0;
  // Of the weights, with gain 1; biases start at zero.
  Initialization initialization = Initialization::kOrthogonal;
};

class Recurrent {
 public:
  Recurrent(ParameterSet& parameters, const std::string& name, const RecurrentOptions& options);

  std::size_t width() const { return options_.width; }
  // Floats of one sequence's state: hidden, and behind it an LSTM's cell.
  std::size_t state_elements() const { return options_.width * (lstm() ? 2 : 1); }

  struct Outputs {
    Tensor hidden;  // [rows, width], after each row's step.
    Tensor cell;    // The same of an LSTM, on a tape that records nothing; otherwise no tensor.
  };
  // x [rows, in], rows by time: row t * sequences + s is step t of sequence s. `state` [sequences,
  // state_elements()] is what lies before the first step; no gradient reaches it. Where `starts`
  // [rows] is nonzero the sequence begins anew at this row: its state is zero before it, and no
  // gradient flows across. Empty = nowhere. A sequence's bits depend on no other, nor on how many
  // of its steps are taken at once.
  Outputs Forward(Tape& tape, Tensor x, std::span<const float> state,
                  std::span<const std::uint8_t> starts) const;

 private:
  bool lstm() const { return options_.kind == RecurrentKind::kLstm; }

  std::string name_;
  RecurrentOptions options_;
  std::size_t weight_ih_, weight_hh_, bias_ih_, bias_hh_;
};

}  // namespace muster::nn
