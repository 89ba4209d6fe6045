// One tile of attention: what CausalAttention and DecodeAttention do alike, in the same order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "tensor/kernels/attention.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/lane_math.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/vector_math.h"

namespace muster::kernels {

inline float ScaleOf(const AttentionShape& shape) {
  return shape.scale != 0 ? shape.scale : 1.0F / std::sqrt(static_cast<float>(shape.head_dim));
}

// The softmax of one query so far.
struct RunningSoftmax {
  float most = -std::numeric_limits<float>::infinity();
  float sum = 0;
};

// The keys of a tile that a query sees: places first <= last, which is not included.
struct Seen {
  std::uint32_t first, last;
  bool Has(std::size_t place) const {
    return static_cast<std::uint32_t>(place) - first < last - first;
  }
};
inline Seen KeysSeen(std::size_t query, std::size_t tile, std::size_t window) {
  const std::size_t begin = tile * kAttentionTile;
  const std::size_t end = query + 1;  // Of the sequence.
  const std::size_t from = window == 0 || end <= window ? 0 : end - window;
  const std::size_t last = end > begin ? std::min(end - begin, kAttentionTile) : 0;
  const std::size_t first = from > begin ? std::min(from - begin, last) : 0;
  return {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last)};
}

// Turns the scores q . k of a tile into weights relative to the new maximum, 0 for keys that are
// not seen, and brings `sum` and the output so far to that maximum.
inline void SoftmaxTile(float* scores, const Seen& seen, float scale, RunningSoftmax& state,
                        float* out, std::size_t head_dim) {
  if (seen.first == seen.last) {
    std::fill_n(scores, kAttentionTile, 0.0F);
    return;
  }
  // Whole tiles, whoever sees a part of them: loops whose length is known have no ends.
  for (std::size_t j = 0; j < kAttentionTile; ++j) {
    scores[j] = seen.Has(j) ? scores[j] * scale : -std::numeric_limits<float>::infinity();
  }
  const float most =
      MaxLanes(kAttentionTile, [&](std::size_t i, std::size_t) { return LoadLanes(scores + i); });
  const float now = state.most > most ? state.most : most;
  const float shrink = FastExp(state.most - now);
  for (std::size_t j = 0; j < kAttentionTile; ++j) {
    scores[j] = seen.Has(j) ? FastExp(scores[j] - now) : 0.0F;
  }
  state.sum = state.sum * shrink + SumLanes(kAttentionTile, [&](std::size_t i, std::size_t) {
                return LoadLanes(scores + i);
              });
  state.most = now;
  for (std::size_t i = 0; i < head_dim; ++i) out[i] *= shrink;
}

// The output from the sums. Adding 0 makes -0, which depends on keys that weigh nothing, 0.
template <class T>
void FinishRow(const RunningSoftmax& state, const float* sums, T* out, std::size_t head_dim) {
  const float share = 1.0F / state.sum;
  for (std::size_t i = 0; i < head_dim; ++i) out[i] = T(sums[i] * share + 0.0F);
}

}  // namespace muster::kernels
