#include "tensor/cuda/attention_tile.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

constexpr unsigned kDecodeThreads = kTile;  // One to a key of a tile.

// Elements of [kv_heads][2][kTile][head_dim] before the keys (part 0) or values (part 1).
MUSTER_HOST_DEVICE std::size_t PageAt(const AttentionSizes& s, std::size_t kv_head,
                                      std::size_t part) {
  return (kv_head * 2 + part) * kTile * s.head_dim;
}

template <class T>
void AppendOf(Stream& stream, const AppendToPagesArgs& args) {
  const AppendToPagesArgs a = args;
  const std::size_t dim = args.sizes.head_dim, kept = 2 * args.sizes.kv_heads * dim;
  ForEach(stream, args.count * kept, [=] __device__(std::size_t i) {
    const std::size_t token = i / kept, at = i % kept;  // Of the token's keys, then values.
    const std::size_t part = at / (a.sizes.kv_heads * dim);
    const std::size_t kv_head = at / dim % a.sizes.kv_heads;
    const std::size_t row = (a.sizes.heads + 2 * a.sizes.kv_heads) * dim;
    T* const page = As<T>(a.pages[token]);
    const auto slot = static_cast<std::size_t>(a.slots[token]);
    page[PageAt(a.sizes, kv_head, part) + slot * dim + at % dim] =
        As<T>(a.qkv)[token * row + a.sizes.heads * dim + at];
  });
}

// One head of one sequence. The additions are those of the forward kernel, in the same order, so a
// token has the same bits in both.
template <class T>
__global__ void DecodeHead(DecodeAttentionArgs args) {
  __shared__ float query[kDimMax];
  __shared__ float weights[kTile];
  const AttentionSizes& s = args.sizes;
  const std::size_t number = blockIdx.x, head = blockIdx.y;
  const std::size_t kv_head = head / (s.heads / s.kv_heads);
  const auto dim = static_cast<unsigned>(s.head_dim);
  const std::size_t newest = static_cast<std::size_t>(args.tokens[number]) - 1;
  const HeadLayout layout(s);
  const T* const from = As<T>(args.qkv) + number * layout.row + head * dim;
  for (unsigned i = threadIdx.x; i < dim; i += kDecodeThreads) query[i] = ToFloat(from[i]);
  __syncthreads();
  RunningSoftmax state;
  float sums[kDimMax / kDecodeThreads] = {};
  for (std::size_t tile = FirstTileOf(newest, s.window); tile <= newest / kTile; ++tile) {
    const T* const page = As<T>(args.pages[number * args.pages_max + tile]);
    const T *const keys = page + PageAt(s, kv_head, 0), *const values =
                                                            page + PageAt(s, kv_head, 1);
    const std::size_t left = newest + 1 - tile * kTile;
    const auto count = static_cast<unsigned>(left < kTile ? left : kTile);
    float score = 0;
    for (unsigned i = 0; threadIdx.x < count && i < dim; ++i) {
      score = fmaf(query[i], ToFloat(keys[threadIdx.x * dim + i]), score);
    }
    weights[threadIdx.x] = score;
    __syncthreads();
    // Each group of 16 threads takes the whole row, as one does in the forward kernel.
    const TileThread thread;
    float scores[kRows];
    bool seen[kRows];
    for (unsigned j = 0; j < kRows; ++j) {
      scores[j] = weights[thread.Column(j)] * s.scale;
      seen[j] = Sees(newest, tile * kTile + thread.Column(j), s.window);
    }
    const float shrink = state.Take(scores, seen);
    __syncthreads();
    if (thread.group == 0) {
      for (unsigned j = 0; j < kRows; ++j) weights[thread.Column(j)] = ToFloat(T(scores[j]));
    }
    __syncthreads();
    for (unsigned n = 0, i = threadIdx.x; i < dim; ++n, i += kDecodeThreads) {
      sums[n] *= shrink;
      for (unsigned k = 0; k < count; ++k) {
        sums[n] = fmaf(weights[k], ToFloat(values[k * dim + i]), sums[n]);
      }
    }
    __syncthreads();
  }
  const float share = 1.0F / state.sum;
  T* const out = As<T>(args.out) + (number * s.heads + head) * dim;
  for (unsigned n = 0, i = threadIdx.x; i < dim; ++n, i += kDecodeThreads) {
    out[i] = T(sums[n] * share + 0.0F);
  }
}

template <class T>
void DecodeOf(Stream& stream, const DecodeAttentionArgs& args) {
  const dim3 grid(BlocksOf(args.sequences, 1), static_cast<unsigned>(args.sizes.heads));
  Launch(stream, grid, kDecodeThreads, DecodeHead<T>, args);
}

}  // namespace

void AppendToPages(Stream& stream, const AppendToPagesArgs& args) {
  MUSTER_BY_TYPE(args.type, AppendOf, stream, args);
}

void DecodeAttention(Stream& stream, const DecodeAttentionArgs& args) {
  MUSTER_CHECK(
      args.sizes.head_dim > 0 && args.sizes.head_dim <= kDimMax && args.sizes.heads < 65536,
      "attention on the GPU has heads of at most 256");
  MUSTER_BY_TYPE(args.type, DecodeOf, stream, args);
}

}  // namespace muster::cuda
