#include <string>

#include "tensor/cuda/attention_tile.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

void Check(const AttentionSizes& sizes) {
  MUSTER_CHECK(
      sizes.head_dim > 0 && sizes.head_dim <= kDimMax,
      "attention on the GPU has heads of at most 256, not " + std::to_string(sizes.head_dim));
  MUSTER_CHECK(sizes.heads < 65536, std::to_string(sizes.heads) + " heads");
}

// The grid: every tile that the longest sequence has, of every sequence, by heads.
dim3 GridOf(std::size_t longest, std::size_t sequences, std::size_t heads) {
  return dim3(BlocksOf((longest + kTile - 1) / kTile * sequences, 1), static_cast<unsigned>(heads));
}

// One tile of queries of one head and sequence, against all tiles of keys that it sees.
template <class T, unsigned kColumns>
__global__ void __launch_bounds__(kThreads) ForwardTile(AttentionForwardArgs args) {
  __shared__ Staging staging;
  __shared__ float weights[kTile][kTile + 1];
  const AttentionSizes& s = args.sizes;
  const std::size_t tiles = (args.longest + kTile - 1) / kTile;
  const Sequence sequence(args.starts, blockIdx.x / tiles);
  const std::size_t block = blockIdx.x % tiles, head = blockIdx.y;
  if (block >= sequence.tiles()) return;
  const HeadLayout layout(s);
  const auto dim = static_cast<unsigned>(s.head_dim);
  const std::size_t kv_head = head / (s.heads / s.kv_heads), first = block * kTile;
  const std::size_t rows = sequence.TileTokens(block);
  const T* const qkv = As<T>(args.qkv) + sequence.first * layout.row;
  const HeadRows<T> queries{qkv + first * layout.row + head * dim, layout.row, rows};
  const TileThread thread;
  RunningSoftmax states[kRows];
  RowSums<kColumns> sums = {};
  for (std::size_t tile = FirstTileOf(first, s.window); tile <= block; ++tile) {
    const std::size_t keys = sequence.TileTokens(tile);
    const T* const tokens = qkv + tile * kTile * layout.row + kv_head * dim;
    float scores[kRows][kRows];
    TileProduct(queries, HeadRows<T>{tokens + layout.key_at, layout.row, keys}, dim, staging,
                scores);
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i) {
      bool seen[kRows];
      for (unsigned j = 0; j < kRows; ++j) {
        const std::size_t key = tile * kTile + thread.Column(j);
        seen[j] = thread.Row(i) < rows && Sees(first + thread.Row(i), key, s.window);
        scores[i][j] *= s.scale;
      }
      const float shrink = states[i].Take(scores[i], seen);
      for (float& sum : sums[i]) sum *= shrink;
      for (unsigned j = 0; j < kRows; ++j) {
        weights[thread.Row(i)][thread.Column(j)] = ToFloat(T(scores[i][j]));
      }
    }
    __syncthreads();
    AddWeighted<kColumns>(weights, HeadRows<T>{tokens + layout.value_at, layout.row, keys}, dim,
                          staging, sums);
  }
#pragma unroll
  for (unsigned i = 0; i < kRows; ++i) {
    if (thread.Row(i) >= rows) continue;
    const std::size_t token = sequence.first + first + thread.Row(i);
    const float share = 1.0F / states[i].sum;
    T* const out = As<T>(args.out) + (token * s.heads + head) * dim;
#pragma unroll
    for (unsigned j = 0; j < kColumns; ++j) {
      if (thread.Column(j) < dim) out[thread.Column(j)] = T(sums[i][j] * share + 0.0F);
    }
    if (args.statistics != nullptr && thread.column == 0) {
      args.statistics[token * s.heads + head] = {states[i].most, share};
    }
  }
}

template <class T, unsigned kColumns>
void ForwardOf(Stream& stream, const AttentionForwardArgs& args) {
  Launch(stream, GridOf(args.longest, args.sequences, args.sizes.heads), kThreads,
         ForwardTile<T, kColumns>, args);
}

}  // namespace

void AttentionForward(Stream& stream, const AttentionForwardArgs& args) {
  Check(args.sizes);
  MUSTER_BY_HEAD(args.type, args.sizes.head_dim, ForwardOf, stream, args);
}

}  // namespace muster::cuda
