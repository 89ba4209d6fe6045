#include "tensor/kernels/recurrent.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/linear.h"
#include "tensor/kernels/put_part.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Blocks.

void CheckWeights(const RecurrentWeights& weights, const Tensor& x, const Tensor& hidden,
                  std::size_t gates) {
  MUSTER_CHECK(x.shape().rank() == 2 && hidden.shape().rank() == 2 &&
                   x.shape()[0] == hidden.shape()[0] && hidden.shape()[1] > 0,
               "input " + x.shape().ToString() + " and state " + hidden.shape().ToString());
  const std::size_t in = x.shape()[1], width = hidden.shape()[1];
  MUSTER_CHECK((weights.input.shape() == Shape{gates * width, in}) &&
                   (weights.hidden.shape() == Shape{gates * width, width}),
               "weights " + weights.input.shape().ToString() + " and " +
                   weights.hidden.shape().ToString() + " for input " + x.shape().ToString() +
                   " and state " + hidden.shape().ToString());
  MUSTER_CHECK(static_cast<bool>(weights.input_bias) == static_cast<bool>(weights.hidden_bias),
               "one bias without the other");
}

template <class T>
struct ResetNode {
  Tensor state;
  const std::uint8_t* done;

  void Backward(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor<T>(state);
    const std::size_t rows = state.shape()[0];
    const std::size_t width = rows == 0 ? 0 : state.elements() / rows;
    for (std::size_t row = 0; row < rows; ++row) {
      T* const to = sink.data + row * width;
      const T* const from = dy + row * width;
      for (std::size_t i = 0; i < width; ++i) {
        const float slope = done[row] != 0 ? 0.0F : ToFloat(from[i]);
        to[i] = T(sink.accumulate ? ToFloat(to[i]) + slope : slope);
      }
    }
  }
};

template <class T>
Tensor Reset(Tape& tape, Tensor state, std::span<const std::uint8_t> done) {
  const std::size_t width = done.empty() ? 0 : state.elements() / done.size();
  Tensor y = tape.NewOutput(state.shape(), kDTypeOf<T>);
  for (std::size_t row = 0; row < done.size(); ++row) {
    T* const to = y.as<T>() + row * width;
    if (done[row] != 0) {
      std::fill_n(to, width, T(0.0F));
    } else {
      std::copy_n(state.as<T>() + row * width, width, to);
    }
  }
  if (tape.Records({state})) {
    auto* const kept = tape.Scratch<std::uint8_t>({done.size()});
    std::copy(done.begin(), done.end(), kept);
    tape.Record(y, {state}, ResetNode<T>{state, kept});
  }
  return y;
}

}  // namespace

Tensor GruCell(Tape& tape, Tensor x, Tensor hidden, const RecurrentWeights& weights) {
  CheckWeights(weights, x, hidden, 3);
  return GruGates(tape, Linear(tape, x, weights.input, weights.input_bias),
                  Linear(tape, hidden, weights.hidden, weights.hidden_bias), hidden);
}

LstmState LstmCell(Tape& tape, Tensor x, const LstmState& state, const RecurrentWeights& weights) {
  CheckWeights(weights, x, state.hidden, 4);
  return LstmGates(tape, Linear(tape, x, weights.input, weights.input_bias),
                   Linear(tape, state.hidden, weights.hidden, weights.hidden_bias), state.cell);
}

Tensor ResetRows(Tape& tape, Tensor state, std::span<const std::uint8_t> done) {
  MUSTER_CHECK(state.shape().rank() > 0 && state.shape()[0] == done.size(),
               std::to_string(done.size()) + " flags for a state " + state.shape().ToString());
  return Dispatch(state.type(),
                  [&](auto element) { return Reset<decltype(element)>(tape, state, done); });
}

}  // namespace muster::ops
