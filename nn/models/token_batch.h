// What the language models read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/autograd/tape.h"
#include "tensor/kernels/attention.h"

namespace muster::nn {

// Attention over tokens that were read before, too: nn/generation/kv_cache.h.
class AttentionCache {
 public:
  virtual ~AttentionCache() = default;
  // As CausalAttention over the new tokens [tokens, packed_width], which it keeps.
  virtual Tensor Attend(Tape& tape, std::size_t layer, Tensor qkv) = 0;
};

// Sequences of any length up to the context, one after the other without padding.
struct TokenBatch {
  std::span<const std::int32_t> tokens;     // In [0, vocabulary).
  std::span<const std::int32_t> positions;  // Of each in its sequence.
  std::span<const std::int32_t> starts;     // Of the sequences, as CausalAttention takes them.
  AttentionCache* cache = nullptr;          // In inference: goes on with sequences that it knows.
};

// The attention of the batch's tokens in one layer.
inline Tensor Attention(Tape& tape, const TokenBatch& batch, std::size_t layer, Tensor qkv,
                        const AttentionShape& shape) {
  return batch.cache == nullptr ? ops::CausalAttention(tape, qkv, batch.starts, shape)
                                : batch.cache->Attend(tape, layer, qkv);
}

// What the backward pass finds of the blocks' activations.
enum class Activations : std::uint8_t {
  kKeep,
  kRecompute,  // Those at the blocks' borders; each block runs again. Same bits, less memory.
};

}  // namespace muster::nn
