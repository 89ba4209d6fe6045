// The backward pass of attention.cu in two kernels: one block owns a tile of queries' gradients,
// one a tile of keys' and values'. Both make the weights again; nothing is added by two blocks.
#include "tensor/cuda/attention_tile.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

// What both kernels know of their block.
template <class T>
struct Part {
  const AttentionBackwardArgs& args;
  const float* agreements;  // dO . O of [tokens, heads]
  Sequence sequence;
  HeadLayout layout;
  unsigned dim;

  __device__ Part(const AttentionBackwardArgs& a, const float* agreements_, std::size_t number)
      : args(a),
        agreements(agreements_),
        sequence(a.starts, number),
        layout(a.sizes),
        dim(static_cast<unsigned>(a.sizes.head_dim)) {}

  // Rows of a tile of qkv, from element `at` of a token on, and of dout.
  __device__ HeadRows<T> Rows(std::size_t tile, std::size_t at) const {
    return {As<T>(args.qkv) + (sequence.first + tile * kTile) * layout.row + at, layout.row,
            sequence.TileTokens(tile)};
  }
  __device__ HeadRows<T> OutputRows(std::size_t tile, std::size_t head) const {
    const std::size_t width = args.sizes.heads * dim;
    return {As<T>(args.dout) + (sequence.first + tile * kTile) * width + head * dim, width,
            sequence.TileTokens(tile)};
  }
  // Of query `query` and key `key` of the sequence, from q . k and dO . v: the weight p, and
  // dS = p (dP - dO . O) scale; both rounded as the products with them take them.
  struct Pair {
    float weight, slope;
  };
  __device__ Pair At(std::size_t head, std::size_t query, std::size_t key, float score,
                     float dp) const {
    if (query >= sequence.tokens || key >= sequence.tokens) return {0, 0};
    if (!Sees(query, key, args.sizes.window)) return {0, 0};
    const std::size_t at = (sequence.first + query) * args.sizes.heads + head;
    const AttentionStatistics s = args.statistics[at];
    const float p = kernels::FastExp(score * args.sizes.scale - s.most) * s.share;
    return {ToFloat(T(p)), ToFloat(T(p * (dp - agreements[at]) * args.sizes.scale))};
  }
  template <unsigned kColumns>
  __device__ void Store(const RowSums<kColumns>& sums, std::size_t tile, std::size_t at) const {
    const TileThread thread;
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i) {
      if (thread.Row(i) >= sequence.TileTokens(tile)) continue;
      const std::size_t token = sequence.first + tile * kTile + thread.Row(i);
      T* const to = As<T>(args.dqkv) + token * layout.row + at;
#pragma unroll
      for (unsigned j = 0; j < kColumns; ++j) {
        if (thread.Column(j) < dim) Put(to[thread.Column(j)], sums[i][j], args.accumulate);
      }
    }
  }
};

// A warp to a token's head.
template <class T>
__global__ void Agreements(AttentionBackwardArgs args, float* agreements) {
  const std::size_t head = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
  if (head >= args.tokens * args.sizes.heads) return;
  const T *const out = As<T>(args.out) + head * args.sizes.head_dim, *const dout =
                                                                         As<T>(args.dout) +
                                                                         head * args.sizes.head_dim;
  const float sum = WarpSum(args.sizes.head_dim,
                            [=](std::size_t i) { return ToFloat(out[i]) * ToFloat(dout[i]); });
  if (threadIdx.x % kWarp == 0) agreements[head] = sum;
}

// dQ of a tile of queries: dS K over the tiles of keys that it sees.
template <class T, unsigned kColumns>
__global__ void __launch_bounds__(kThreads)
    QueryGradients(AttentionBackwardArgs args, const float* agreements) {
  __shared__ Staging staging;
  __shared__ float slopes[kTile][kTile + 1];
  const AttentionSizes& s = args.sizes;
  const std::size_t tiles = (args.longest + kTile - 1) / kTile;
  const Part<T> part(args, agreements, blockIdx.x / tiles);
  const std::size_t block = blockIdx.x % tiles, head = blockIdx.y;
  if (block >= part.sequence.tiles()) return;
  const std::size_t kv_head = head / (s.heads / s.kv_heads), first = block * kTile;
  const TileThread thread;
  RowSums<kColumns> sums = {};
  for (std::size_t tile = FirstTileOf(first, s.window); tile <= block; ++tile) {
    const HeadRows<T> keys = part.Rows(tile, part.layout.key_at + kv_head * part.dim);
    float scores[kRows][kRows], dps[kRows][kRows];
    TileProduct(part.Rows(block, head * part.dim), keys, part.dim, staging, scores);
    TileProduct(part.OutputRows(block, head),
                part.Rows(tile, part.layout.value_at + kv_head * part.dim), part.dim, staging, dps);
    for (unsigned i = 0; i < kRows; ++i) {
      for (unsigned j = 0; j < kRows; ++j) {
        const unsigned row = thread.Row(i), column = thread.Column(j);
        slopes[row][column] =
            part.At(head, first + row, tile * kTile + column, scores[i][j], dps[i][j]).slope;
      }
    }
    __syncthreads();
    AddWeighted<kColumns>(slopes, keys, part.dim, staging, sums);
  }
  part.template Store<kColumns>(sums, block, head * part.dim);
}

// dV = P^T dO and dK = dS^T Q of a tile of keys and one kv_head: over the heads of its group, of
// each over the tiles of queries that see it. Here the tile's rows are keys, its columns queries.
template <class T, unsigned kColumns>
__global__ void __launch_bounds__(kThreads)
    KeyGradients(AttentionBackwardArgs args, const float* agreements) {
  __shared__ Staging staging;
  __shared__ float weights[kTile][kTile + 1];
  const AttentionSizes& s = args.sizes;
  const std::size_t tiles = (args.longest + kTile - 1) / kTile;
  const Part<T> part(args, agreements, blockIdx.x / tiles);
  const std::size_t tile = blockIdx.x % tiles, kv_head = blockIdx.y;
  if (tile >= part.sequence.tiles()) return;
  const std::size_t group = s.heads / s.kv_heads, first = tile * kTile;
  const std::size_t key_at = part.layout.key_at + kv_head * part.dim,
                    value_at = part.layout.value_at + kv_head * part.dim;
  const std::size_t last_key = first + part.sequence.TileTokens(tile) - 1;
  const TileThread thread;
  RowSums<kColumns> dk = {}, dv = {};
  for (std::size_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (std::size_t block = tile; block < part.sequence.tiles(); ++block) {
      // The block's first query sees no key of the tile: no later one does.
      if (s.window != 0 && block * kTile >= last_key + s.window) break;
      const HeadRows<T> queries = part.Rows(block, head * part.dim);
      const HeadRows<T> outputs = part.OutputRows(block, head);
      float scores[kRows][kRows], dps[kRows][kRows];
      TileProduct(part.Rows(tile, key_at), queries, part.dim, staging, scores);
      TileProduct(part.Rows(tile, value_at), outputs, part.dim, staging, dps);
      for (unsigned i = 0; i < kRows; ++i) {
        for (unsigned j = 0; j < kRows; ++j) {
          const unsigned row = thread.Row(i), column = thread.Column(j);
          const auto pair =
              part.At(head, block * kTile + column, first + row, scores[i][j], dps[i][j]);
          weights[row][column] = pair.weight;
          scores[i][j] = pair.slope;
        }
      }
      __syncthreads();
      AddWeighted<kColumns>(weights, outputs, part.dim, staging, dv);
      for (unsigned i = 0; i < kRows; ++i) {
        for (unsigned j = 0; j < kRows; ++j) {
          weights[thread.Row(i)][thread.Column(j)] = scores[i][j];
        }
      }
      __syncthreads();
      AddWeighted<kColumns>(weights, queries, part.dim, staging, dk);
    }
  }
  part.template Store<kColumns>(dk, tile, key_at);
  part.template Store<kColumns>(dv, tile, value_at);
}

template <class T, unsigned kColumns>
void BackwardOf(Stream& stream, const AttentionBackwardArgs& args) {
  const std::size_t heads = args.tokens * args.sizes.heads;
  auto* const agreements = stream.Scratch<float>(heads);
  Launch(stream, BlocksOf(heads, kWarps), kThreads, Agreements<T>, args, agreements);
  const unsigned tiles = BlocksOf((args.longest + kTile - 1) / kTile * args.sequences, 1);
  Launch(stream, dim3(tiles, static_cast<unsigned>(args.sizes.heads)), kThreads,
         QueryGradients<T, kColumns>, args, agreements);
  Launch(stream, dim3(tiles, static_cast<unsigned>(args.sizes.kv_heads)), kThreads,
         KeyGradients<T, kColumns>, args, agreements);
}

}  // namespace

void AttentionBackward(Stream& stream, const AttentionBackwardArgs& args) {
  MUSTER_CHECK(args.sizes.head_dim > 0 && args.sizes.head_dim <= kDimMax,
               "attention on the GPU has heads of at most 256");
  MUSTER_BY_HEAD(args.type, args.sizes.head_dim, BackwardOf, stream, args);
}

}  // namespace muster::cuda
