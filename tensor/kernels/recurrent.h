// Recurrent cells, one step of a batch: GRU and LSTM with the formulas, the order of gates and the
// weight layout of PyTorch's nn.GRUCell and nn.LSTMCell, so that weights carry over.
// Sources: Cho et al., arXiv:1406.1078, with the reset gate applied after the hidden product as in
// PyTorch; Hochreiter and Schmidhuber, 1997, with forget gates (Gers et al., 2000).
//
// Everything is f32, or everything is bf16 (values widened, worked on in f32 and rounded once; the
// gradients of weights and biases are f32). A row's bits depend on no other row.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/autograd/tape.h"

namespace muster::ops {

// gates = 3 (GRU) or 4 (LSTM). Biases may both be no tensor.
struct RecurrentWeights {
  Tensor input;        // [gates * hidden, in], PyTorch's weight_ih.
  Tensor hidden;       // [gates * hidden, hidden], weight_hh.
  Tensor input_bias;   // [gates * hidden], bias_ih.
  Tensor hidden_bias;  // [gates * hidden], bias_hh.
};

// x [rows, in], hidden [rows, hidden]; returns the next hidden state [rows, hidden]. With i the
// product of x and h that of the hidden state, each cut into the gates reset, update, new:
//   r = sigmoid(i_r + h_r), u = sigmoid(i_u + h_u), n = tanh(i_n + r h_n), hidden' = (1 - u) n + u
//   hidden
Tensor GruCell(Tape& tape, Tensor x, Tensor hidden, const RecurrentWeights& weights);

struct LstmState {
  Tensor hidden, cell;  // [rows, hidden] each.
};

// The same for gates input, forget, cell, output:
//   i, f, o = sigmoid(i_ + h_), g = tanh(i_g + h_g), cell' = f cell + i g, hidden' = o tanh(cell')
LstmState LstmCell(Tape& tape, Tensor x, const LstmState& state, const RecurrentWeights& weights);

// The gates alone, of products [rows, gates * hidden] that the caller has made: for a sequence,
// those of all its inputs come from one Linear.
Tensor GruGates(Tape& tape, Tensor input_product, Tensor hidden_product, Tensor hidden);
LstmState LstmGates(Tape& tape, Tensor input_product, Tensor hidden_product, Tensor cell);

// Row r of state [rows, ..] where done[r] is 0, zeros where it is not, whatever the state holds: a
// state at the start of an episode. No gradient flows back across such a start.
Tensor ResetRows(Tape& tape, Tensor state, std::span<const std::uint8_t> done);

}  // namespace muster::ops
