// Attention of new tokens over pages, which hold keys and values as products want them.
#include "base/check.h"
#include "tensor/kernels/attention_tile.h"
#include "tensor/kernels/blocks.h"

namespace muster::kernels {

namespace {

constexpr std::size_t kTile = kAttentionTile;

std::size_t KeyFloats(const AttentionShape& shape, DType type) {
  return PackedFloats(shape.head_dim, kTile, type);
}
std::size_t HeadFloats(const AttentionShape& shape, DType type) {
  return KeyFloats(shape, type) + PackedFloats(kTile, shape.head_dim, type);
}

// The queries of one kv_head's group: as many rows, each by itself.
template <class T>
void DecodeGroup(const AttentionShape& shape, const DecodeArgs& args, std::size_t kv_head) {
  thread_local Arena arena;
  arena.Reset();
  const std::size_t d = shape.head_dim, group = shape.heads / shape.kv_heads;
  const float scale = ScaleOf(shape);
  const T* const queries = static_cast<const T*>(args.qkv) + kv_head * group * d;
  float* const scores = arena.Floats(group * kTile);
  float* const sums = arena.Floats(group * d);
  T* const weights = arena.Array<T>(group * kTile);
  auto* const state = arena.Array<RunningSoftmax>(group);
  std::fill_n(state, group, RunningSoftmax());
  std::fill_n(sums, group * d, 0.0F);
  const std::size_t query = args.tokens - 1;
  const std::size_t first =
      shape.window == 0 || args.tokens <= shape.window ? 0 : (args.tokens - shape.window) / kTile;
  for (std::size_t tile = first; tile <= query / kTile; ++tile) {
    const float* const page = args.pages[tile] + kv_head * HeadFloats(shape, kDTypeOf<T>);
    const PackedOperand keys{page, d, kTile, kDTypeOf<T>};
    const PackedOperand values{page + KeyFloats(shape, kDTypeOf<T>), kTile, d, kDTypeOf<T>};
    GemmArgs product;
    product.rows = group;
    product.columns = kTile;
    product.inner = d;
    product.type = kDTypeOf<T>;
    product.a = {queries, d, 1};
    product.c = scores;
    product.c_row_stride = kTile;
    GemmPacked(product, keys);
    Wide([&] {
      const Seen seen = KeysSeen(query, tile, shape.window);
      for (std::size_t h = 0; h < group; h += kTile) {
        SoftmaxTile(
            scores + h * kTile, std::min(kTile, group - h), [&](std::size_t) { return seen; },
            scale, state + h, sums + h * d, d, weights + h * kTile);
      }
    });
    product.columns = d;
    product.inner = kTile;
    product.a = {weights, kTile, 1};
    product.accumulate = true;
    product.c = sums;
    product.c_row_stride = d;
    GemmPacked(product, values);
  }
  T* const out = static_cast<T*>(args.out) + kv_head * group * d;
  for (std::size_t h = 0; h < group; ++h) FinishRow(state[h], sums + h * d, out + h * d, d);
}

}  // namespace

std::size_t PageFloats(const AttentionShape& shape, DType type) {
  return shape.kv_heads * HeadFloats(shape, type);
}

void AppendToPage(const AttentionShape& shape, DType type, const void* qkv, std::size_t slot,
                  float* page) {
  MUSTER_CHECK(slot < kTile, "a page has no slot " + std::to_string(slot));
  const std::size_t d = shape.head_dim;
  const char* const token = static_cast<const char*>(qkv);
  for (std::size_t head = 0; head < shape.kv_heads; ++head) {
    float* const keys = page + head * HeadFloats(shape, type);
    float* const values = keys + KeyFloats(shape, type);
    const char* const key = token + (shape.heads + head) * d * SizeOf(type);
    StorePackedColumn(keys, d, kTile, type, slot, key);
    StorePackedRow(values, kTile, d, type, slot, key + shape.kv_heads * d * SizeOf(type));
  }
}

void DecodeAttention(const AttentionShape& shape, DType type, std::span<const DecodeArgs> sequences,
                     ThreadPool* pool) {
  for (const DecodeArgs& sequence : sequences) {
    MUSTER_CHECK(
        sequence.tokens > 0 && sequence.pages.size() >= (sequence.tokens + kTile - 1) / kTile,
        std::to_string(sequence.tokens) + " tokens in " + std::to_string(sequence.pages.size()) +
            " pages");
  }
  ParallelFor(pool, sequences.size() * shape.kv_heads, [&](std::size_t index) {
    Dispatch(type, [&](auto element) {
      DecodeGroup<decltype(element)>(shape, sequences[index / shape.kv_heads],
                                     index % shape.kv_heads);
    });
  });
}

}  // namespace muster::kernels
