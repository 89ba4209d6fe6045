#include "nn/layers/recurrent.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "tensor/kernels/concatenate.h"
#include "tensor/kernels/linear.h"

namespace muster::nn {
namespace {

Tensor Joined(Tape& tape, const std::vector<Tensor>& steps) {
  if (steps.empty()) return {};
  return steps.size() == 1 ? steps.front() : ops::Concatenate(tape, steps, 0);
}

}  // namespace

Recurrent::Recurrent(ParameterSet& parameters, const std::string& name,
                     const RecurrentOptions& options)
    : name_(name), options_(options) {
  const std::size_t rows = options.width * (lstm() ? 4 : 3);
  const auto weight = [&](const char* which, std::size_t in) {
    return parameters.Add({.name = name + which,
                           .shape = {rows, in},
                           .initialization = options.initialization,
                           .fan_in = in});
  };
  const auto bias = [&](const char* which) {
    return parameters.Add({.name = name + which, .shape = {rows}, .decay = false});
  };
  weight_ih_ = weight(".weight_ih", options.in);
  weight_hh_ = weight(".weight_hh", options.width);
  bias_ih_ = bias(".bias_ih");
  bias_hh_ = bias(".bias_hh");
}

Recurrent::Outputs Recurrent::Forward(Tape& tape, Tensor x, std::span<const float> state,
                                      std::span<const std::uint8_t> starts) const {
  const Tape::Scope scope(tape, name_);
  const std::size_t rows = x.shape()[0], width = options_.width;
  const std::size_t sequences = state.size() / state_elements();
  MUSTER_CHECK(sequences > 0 && state.size() == sequences * state_elements() &&
                   rows % sequences == 0 && (starts.empty() || starts.size() == rows),
               std::to_string(rows) + " rows, a state of " + std::to_string(state.size()) +
                   " and " + std::to_string(starts.size()) + " starts");
  Tensor hidden = tape.Input({sequences, state_elements()}, state.data());
  Tensor cell;
  if (lstm()) {
    cell = ops::Slice(tape, hidden, 1, width, width);
    hidden = ops::Slice(tape, hidden, 1, 0, width);
  }
  // The inputs' products of all steps at once.
  const Tensor made = ops::Linear(tape, x, tape.Parameter(weight_ih_), tape.Parameter(bias_ih_));
  const Tensor weight = tape.Parameter(weight_hh_), bias = tape.Parameter(bias_hh_);
  std::vector<Tensor> hiddens, cells;
  for (std::size_t row = 0; row < rows; row += sequences) {
    const auto first = starts.empty() ? starts : starts.subspan(row, sequences);
    if (std::any_of(first.begin(), first.end(), [](std::uint8_t start) { return start != 0; })) {
      hidden = ops::ResetRows(tape, hidden, first);
      if (lstm()) cell = ops::ResetRows(tape, cell, first);
    }
    const Tensor input = rows == sequences ? made : ops::Slice(tape, made, 0, row, sequences);
    const Tensor product = ops::Linear(tape, hidden, weight, bias);
    if (lstm()) {
      const ops::LstmState next = ops::LstmGates(tape, input, product, cell);
      hidden = next.hidden;
      cell = next.cell;
      if (tape.inference()) cells.push_back(cell);
    } else {
      hidden = ops::GruGates(tape, input, product, hidden);
    }
    hiddens.push_back(hidden);
  }
  return {Joined(tape, hiddens), Joined(tape, cells)};
}

}  // namespace muster::nn
