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

// Scores of keys that are not seen become -infinity, the others are scaled. The largest.
template <bool kAll>
float ScaleScores(float* scores, const Seen& seen, float scale) {
  // Whole tiles, whoever sees a part of them: loops whose length is known have no ends.
  for (std::size_t j = 0; j < kAttentionTile; ++j) {
    const bool has = kAll || seen.Has(j);
    scores[j] = has ? scores[j] * scale : -std::numeric_limits<float>::infinity();
  }
  return MaxLanes(kAttentionTile,
                  [&](std::size_t i, std::size_t) { return LoadLanes(scores + i); });
}

template <bool kAll, class T>
void WeightsOf(float* scores, const Seen& seen, float most, T* weights) {
  for (std::size_t j = 0; j < kAttentionTile; ++j) {
    scores[j] = kAll || seen.Has(j) ? FastExp(scores[j] - most) : 0.0F;
  }
  for (std::size_t j = 0; j < kAttentionTile; ++j) weights[j] = T(scores[j]);
}

// Turns the scores q . k of a tile, of up to kAttentionTile queries, into weights relative to each
// query's new maximum, 0 for keys that are not seen, and brings its `sum` and its output so far to
// that maximum. seen_by(r) are the keys that query r sees. `weights` may be `scores`, which keep no
// meaning. One thing for all queries after the other: each is a chain of few, slow steps.
template <class SeenBy, class T>
void SoftmaxTile(float* scores, std::size_t queries, const SeenBy& seen_by, float scale,
                 RunningSoftmax* state, float* out, std::size_t head_dim, T* weights) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  float most[kAttentionTile] = {}, shrink[kAttentionTile] = {};
  for (std::size_t r = 0; r < queries; ++r) {
    const Seen seen = seen_by(r);
    float* const row = scores + r * kAttentionTile;
    const float largest = seen.last - seen.first == kAttentionTile
                              ? ScaleScores<true>(row, seen, scale)
                              : ScaleScores<false>(row, seen, scale);
    const float before = state[r].most;
    state[r].most = before > largest ? before : largest;
    // As long as there is no weight, any number does; infinities have no difference.
    most[r] = state[r].most == kNone ? 0.0F : state[r].most;
    shrink[r] = before - most[r];
  }
  for (std::size_t r = 0; r < queries; r += kLanes) {
    StoreLanes(shrink + r, FastExp(LoadLanes(shrink + r)));
  }
  for (std::size_t r = 0; r < queries; ++r) {
    const Seen seen = seen_by(r);
    float* const row = scores + r * kAttentionTile;
    T* const to = weights + r * kAttentionTile;
    if (seen.last - seen.first == kAttentionTile) {
      WeightsOf<true>(row, seen, most[r], to);
    } else {
      WeightsOf<false>(row, seen, most[r], to);
    }
    state[r].sum =
        state[r].sum * shrink[r] +
        SumLanes(kAttentionTile, [&](std::size_t i, std::size_t) { return LoadLanes(row + i); });
    if (shrink[r] == 1.0F) continue;
    for (std::size_t i = 0; i < head_dim; ++i) out[r * head_dim + i] *= shrink[r];
  }
}

// The output from the sums. Adding 0 makes -0, which depends on keys that weigh nothing, 0.
template <class T>
void FinishRow(const RunningSoftmax& state, const float* sums, T* out, std::size_t head_dim) {
  const float share = 1.0F / state.sum;
  for (std::size_t i = 0; i < head_dim; ++i) out[i] = T(sums[i] * share + 0.0F);
}

}  // namespace muster::kernels
