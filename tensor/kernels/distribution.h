// What the ops over probability distributions share: their two outputs, which have one backward
// pass, and how their samples are keyed.
//
// A sampling function takes one RandomKey to a row, which decides the row's sample together with
// its own parameters: nothing else in the batch does. Whatever the number of blocks that a draw
// takes, a key's index stands for one draw; draws of different widths need different streams
// (purpose, lane).
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>

#include "base/random_key.h"
#include "tensor/autograd/tape.h"
#include "tensor/kernels/lanes.h"

namespace muster {

// Of a batch, each [rows] and f32 whatever the type of the distribution's parameters.
struct LogProbsAndEntropy {
  Tensor log_probs;  // Nats, of the given actions.
  Tensor entropy;    // Nats.
};

namespace kernels {

// Elements of a row that are in f32 at once.
inline constexpr std::size_t kRowPart = 256;

inline float SumOfPart(const float* values, std::size_t count) {
  return SumLanes(count, [&](std::size_t i, std::size_t n) { return LoadUpTo(values + i, n); });
}

// body(begin, count) over the parts of a row.
template <class Body>
void ForRowParts(std::size_t width, const Body& body) {
  for (std::size_t i = 0; i < width; i += kRowPart) body(i, std::min(kRowPart, width - i));
}

// Hands the gradient of the entropies to the node of the log-probabilities, which is recorded
// before it and so runs after it.
struct EntropyNode {
  Tensor log_probs;
  const float** handed_over;

  void Backward(Tape& tape, const float* dy) const {
    *handed_over = dy;
    const GradientSink sink = tape.SinkFor(log_probs);
    if (!sink.accumulate) std::fill_n(sink.data, log_probs.elements(), 0.0F);
  }
};

// Records `node` as the one backward pass of both outputs. It finds the gradient of the entropies
// in *node.entropy_gradient; null if nothing depends on them.
template <class Node>
void RecordPair(Tape& tape, const LogProbsAndEntropy& outputs, std::initializer_list<Tensor> inputs,
                Node node) {
  auto** const handed_over = tape.New<const float*>(nullptr);
  node.entropy_gradient = handed_over;
  tape.Record(outputs.log_probs, inputs, node);
  tape.Record(outputs.entropy, {outputs.log_probs}, EntropyNode{outputs.log_probs, handed_over});
}

}  // namespace kernels
}  // namespace muster
