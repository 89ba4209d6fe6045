// Causal self-attention over packed sequences, multi-head and grouped-query, with memory linear in
// their length; and the same for one new token a sequence over a paged cache of keys and values.
//
// out[t] = sum over keys j <= t of the token's sequence of softmax(scale q[t] . k[j]) v[j].
// Keys are taken in tiles of kAttentionTile, counted from the sequence's first token, with the
// running maximum and sum of Milakov and Gimelshein (arXiv:1805.02867) as in FlashAttention (Dao et
// al., arXiv:2205.14135). So a token's output depends on its own sequence up to it and on nothing
// else: not on what is packed beside it, on the threads, or on whether the sequence was read at
// once or token by token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/autograd/tape.h"

namespace muster {

inline constexpr std::size_t kAttentionTile = 64;  // Keys; also a page of the cache.

struct AttentionShape {
  std::size_t heads = 1;
  std::size_t kv_heads = 1;  // Divides heads: neighbouring heads share keys and values.
  std::size_t head_dim = 1;
  float scale = 0;         // 0 = 1 / sqrt(head_dim).
  std::size_t window = 0;  // Only the last `window` keys, the token's own included; 0 = all.

  std::size_t width() const { return heads * head_dim; }
  std::size_t packed_width() const { return (heads + 2 * kv_heads) * head_dim; }
};

namespace ops {

// qkv [tokens, packed_width]: of each token the queries of all heads, then keys, then values; f32
// or bf16. Sequence s is tokens starts[s] to starts[s + 1], which ascend from 0 to `tokens`; an
// empty one is allowed. Returns [tokens, width]. The pool shares sequences and their kv_heads.
Tensor CausalAttention(Tape& tape, Tensor qkv, std::span<const std::int32_t> starts,
                       const AttentionShape& shape);

}  // namespace ops

namespace kernels {

// A page holds the keys and values of kAttentionTile neighbouring tokens of one sequence and layer.
// Its memory is the caller's, 64-byte aligned, and zero before its first token.
std::size_t PageFloats(const AttentionShape& shape, DType type);

// Puts the keys and values of `qkv`, one token as above, into place `slot` of the page.
void AppendToPage(const AttentionShape& shape, DType type, const void* qkv, std::size_t slot,
                  float* page);

// One sequence's newest token: its `pages` hold `tokens` tokens, itself included. out [width].
struct DecodeArgs {
  const void* qkv = nullptr;
  std::span<const float* const> pages;
  std::size_t tokens = 0;
  void* out = nullptr;
};
// The pool shares sequences and their kv_heads.
void DecodeAttention(const AttentionShape& shape, DType type, std::span<const DecodeArgs> sequences,
                     ThreadPool* pool);

}  // namespace kernels
}  // namespace muster
