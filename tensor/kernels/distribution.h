// What the ops over probability distributions share: their two outputs, which have one backward
// pass, and how their samples are keyed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "base/philox.h"
#include "tensor/autograd/tape.h"
#include "tensor/kernels/lanes.h"

namespace muster {

// Of a batch, each [rows] and f32 whatever the type of the distribution's parameters.
struct LogProbsAndEntropy {
  Tensor log_probs;  // Nats, of the given actions.
  Tensor entropy;    // Nats.
};

// Row r draws from the stream (seed, purpose, rows[r].lane) at place rows[r].index, so its sample
// depends on nothing else in the batch. An index serves one draw, whatever the number of blocks
// that the draw takes; draws of different widths need different streams.
struct DrawRow {
  std::uint32_t lane = 0;
  std::uint64_t index = 0;
};
struct DrawKeys {
  std::uint64_t seed = 0;
  RandomPurpose purpose{};
  std::span<const DrawRow> rows;
};

namespace kernels {

// Block `block` < `blocks` of the draw of a row.
inline PhiloxBlock DrawBlock(const DrawKeys& keys, std::size_t row, std::size_t blocks,
                             std::size_t block) {
  const DrawRow& at = keys.rows[row];
  return RandomBlock(keys.seed, keys.purpose, at.lane, at.index * blocks + block);
}

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
  auto** const handed_over = tape.arena().New<const float*>(nullptr);
  node.entropy_gradient = handed_over;
  tape.Record(outputs.log_probs, inputs, node);
  tape.Record(outputs.entropy, {outputs.log_probs}, EntropyNode{outputs.log_probs, handed_over});
}

}  // namespace kernels
}  // namespace muster
