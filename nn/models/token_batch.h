// What the language models read.
#pragma once

#include <cstdint>
#include <span>

namespace muster::nn {

// Sequences of any length up to the context, one after the other without padding.
struct TokenBatch {
  std::span<const std::int32_t> tokens;     // In [0, vocabulary).
  std::span<const std::int32_t> positions;  // Of each in its sequence.
  std::span<const std::int32_t> starts;     // Of the sequences, as CausalAttention takes them.
};

// What the backward pass finds of the blocks' activations.
enum class Activations : std::uint8_t {
  kKeep,
  kRecompute,  // Those at the blocks' borders; each block runs again. Same bits, less memory.
};

}  // namespace muster::nn
