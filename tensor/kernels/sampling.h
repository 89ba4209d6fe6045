// Tokens drawn from rows of logits.
// Sources: top-k: Fan et al., arXiv:1805.04833, section 5.4; top-p: Holtzman et al.,
// arXiv:1904.09751, section 3.1; min-p: Nguyen et al., arXiv:2407.01082, section 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/random_key.h"
#include "tensor/tensor.h"
#include "tensor/thread_pool.h"

namespace muster {

// The filters apply in this order to softmax(logits / temperature); each keeps the most probable
// tokens, of equal ones those of lower index, and at least one.
struct SamplingOptions {
  float temperature = 1;  // >= 0; at 0 the first of the largest logits is taken, nothing is drawn.
  std::size_t top_k = 0;  // At most so many tokens; 0: all.
  float top_p = 1;        // The fewest whose share of what top_k left is at least this; (0, 1].
  float min_p = 0;        // Those at least this times as probable as the most probable; [0, 1].
};

// What decides a row's token besides its logits. Of the key's block the first 53 bits are used, so
// rows of equal keys draw alike: a caller gives each its own, such as (sequence, position).
struct SamplingRow {
  SamplingOptions options;
  RandomKey key;
};

struct SampledToken {
  std::int32_t token = 0;
  // Nats, under softmax(logits): no filter, temperature 1. To the bit what LinearCrossEntropy
  // finds.
  float log_prob = 0;
  float sampled_log_prob = 0;  // Nats, under the distribution it was drawn from; greedy: 0.
};

// tokens[r] for logits [rows, vocabulary], f32 or bf16, and rows[r]. A logit of -infinity is never
// drawn, nor one less probable than the most probable by e^-87. Refused: options out of range, and
// a row with NaN, with infinity or without a finite logit. The uniform number picks from the kept
// tokens in ascending order of index, so a filter that keeps all tokens changes nothing.
void Sample(ThreadPool* pool, Tensor logits, std::span<const SamplingRow> rows,
            std::span<SampledToken> tokens);

}  // namespace muster
