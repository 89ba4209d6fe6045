#include "tensor/kernels/attention.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "tensor/kernels/attention_tile.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/stream.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Gemm, the tile.

constexpr std::size_t kTile = kAttentionTile;
constexpr std::size_t kSquare = kTile * kTile;

struct RowStatistics {
  float most, share;  // weight of key j = exp(score - most) * share
};

// One sequence and one of its kv_heads, which a thread does from beginning to end.
template <class T>
struct Part {
  const AttentionShape& shape;
  const T* qkv;  // Of the sequence's first token.
  std::size_t tokens, kv_head;

  std::size_t row() const { return shape.packed_width(); }
  std::size_t group() const { return shape.heads / shape.kv_heads; }
  std::size_t tiles() const { return (tokens + kTile - 1) / kTile; }
  std::size_t TileTokens(std::size_t tile) const { return std::min(kTile, tokens - tile * kTile); }
  // The first tile that queries of block `block` see.
  std::size_t FirstTile(std::size_t block) const {
    const std::size_t end = block * kTile + 1;
    return shape.window == 0 || end <= shape.window ? 0 : (end - shape.window) / kTile;
  }
  // Where head `h` of the group, the keys and the values begin in a token.
  std::size_t QueryAt(std::size_t h) const { return (kv_head * group() + h) * shape.head_dim; }
  std::size_t KeyAt() const { return (shape.heads + kv_head) * shape.head_dim; }
  std::size_t ValueAt() const { return KeyAt() + shape.kv_heads * shape.head_dim; }
};

// Memory of a thread for one part; grows to the longest sequence it meets.
struct Workspace {
  Arena arena;
  static Workspace& ThisThread() {
    thread_local Workspace workspace;
    workspace.arena.Reset();
    return workspace;
  }
};

// Keys or values of a part as the operand b of q . k: one column a token.
template <class T>
PackedOperand PackColumns(const Part<T>& part, const T* at, Arena& arena) {
  const std::size_t inner = part.shape.head_dim;
  return Pack({at, 1, part.row()}, inner, part.tokens, kDTypeOf<T>,
              arena.Floats(PackedFloats(inner, part.tokens, kDTypeOf<T>)));
}

// The same of a tile's rows: one row a token.
template <class T>
PackedOperand PackRows(const T* at, std::size_t row_stride, std::size_t tokens,
                       std::size_t head_dim, float* to) {
  return Pack({at, row_stride, 1}, tokens, head_dim, kDTypeOf<T>, to);
}

// Whether all numbers of these rows are finite: 0 times another is NaN.
template <class T>
bool AllFinite(const T* at, std::size_t row_stride, std::size_t tokens, std::size_t head_dim) {
  float sum = 0;
  for (std::size_t token = 0; token < tokens; ++token) {
    const T* const row = at + token * row_stride;
    sum += SumLanes(head_dim,
                    [&](std::size_t i, std::size_t n) { return LoadUpTo(row + i, n) * 0.0F; });
  }
  return sum == 0;
}

// c [rows, columns] (+)= a b.
template <class T>
void Product(const Operand& a, const PackedOperand& b, std::size_t rows, bool accumulate, float* c,
             std::size_t c_row_stride) {
  GemmArgs args;
  args.rows = rows;
  args.columns = b.columns;
  args.inner = b.inner;
  args.type = kDTypeOf<T>;
  args.a = a;
  args.accumulate = accumulate;
  args.c = c;
  args.c_row_stride = c_row_stride;
  GemmPacked(args, b);
}

// Where a tile's numbers become elements of type T: in their own place if they are already.
template <class T>
T* RoomFor(float* values, Arena& arena) {
  if constexpr (std::is_same_v<T, float>) {
    return values;
  } else {
    return arena.Array<T>(kSquare);
  }
}

template <class T>
void Forward(const Part<T>& part, T* out, RowStatistics* statistics) {
  const AttentionShape& shape = part.shape;
  const std::size_t d = shape.head_dim, width = shape.width();
  const float scale = ScaleOf(shape);
  Arena& arena = Workspace::ThisThread().arena;
  const PackedOperand keys = PackColumns(part, part.qkv + part.KeyAt(), arena);
  std::vector<PackedOperand> values;
  for (std::size_t tile = 0; tile < part.tiles(); ++tile) {
    values.push_back(PackRows(part.qkv + tile * kTile * part.row() + part.ValueAt(), part.row(),
                              part.TileTokens(tile), d,
                              arena.Floats(PackedFloats(kTile, d, kDTypeOf<T>))));
  }
  float* const scores = arena.Floats(kSquare);
  float* const sums = arena.Floats(kTile * d);
  float* const seen = arena.Floats(PackedFloats(kTile, d, kDTypeOf<T>));
  T* const weights = RoomFor<T>(scores, arena);
  for (std::size_t h = 0; h < part.group(); ++h) {
    for (std::size_t block = 0; block < part.tiles(); ++block) {
      const std::size_t rows = part.TileTokens(block), first = block * kTile;
      RunningSoftmax state[kTile];
      std::fill_n(sums, kTile * d, 0.0F);
      for (std::size_t tile = part.FirstTile(block); tile <= block; ++tile) {
        Product<T>({part.qkv + first * part.row() + part.QueryAt(h), part.row(), 1},
                   PackedColumns(keys, tile * kTile, part.TileTokens(tile)), rows, false, scores,
                   kTile);
        Wide([&] {
          SoftmaxTile(
              scores, rows, [&](std::size_t r) { return KeysSeen(first + r, tile, shape.window); },
              scale, state, sums, d, weights);
        });
        const T* const of_tile = part.qkv + tile * kTile * part.row() + part.ValueAt();
        if (tile < block || AllFinite(of_tile, part.row(), rows, d)) {
          Product<T>({weights, kTile, 1}, values[tile], rows, true, sums, d);
          continue;
        }
        // A later token's weight is 0, but 0 times what is not finite would be NaN.
        for (std::size_t r = 0; r < rows; ++r) {
          Product<T>({weights + r * kTile, kTile, 1}, PackRows(of_tile, part.row(), r + 1, d, seen),
                     1, true, sums + r * d, d);
        }
      }
      Wide([&] {
        for (std::size_t r = 0; r < rows; ++r) {
          FinishRow(state[r], sums + r * d, out + (first + r) * width + part.QueryAt(h), d);
        }
      });
      for (std::size_t r = 0; r < rows && statistics != nullptr; ++r) {
        statistics[(first + r) * shape.heads + part.kv_head * part.group() + h] = {
            state[r].most, 1.0F / state[r].sum};
      }
    }
  }
}

// The gradients of one part, in f32 until they are whole.
template <class T>
class Backward {
 public:
  Backward(const Part<T>& part, const T* out, const T* dout, const RowStatistics* statistics)
      : part_(part),
        out_(out),
        dout_(dout),
        statistics_(statistics),
        arena_(Workspace::ThisThread().arena),
        d_(part.shape.head_dim) {}

  // `streams`: see StoreRow.
  void Run(const GradientSink<T>& sink, std::size_t first_token, bool streams) {
    streams_ = streams;
    const std::size_t count = part_.tokens * d_;
    keys_ = PackColumns(part_, part_.qkv + part_.KeyAt(), arena_);
    values_ = PackColumns(part_, part_.qkv + part_.ValueAt(), arena_);
    for (float** memory : {&dq_, &dk_, &dv_}) *memory = arena_.Floats(count);
    std::fill_n(dk_, count, 0.0F);
    std::fill_n(dv_, count, 0.0F);
    key_rows_ = arena_.Floats(PackedFloats(kTile, d_, kDTypeOf<T>));
    query_rows_ = arena_.Floats(PackedFloats(kTile, d_, kDTypeOf<T>));
    dout_rows_ = arena_.Floats(PackedFloats(kTile, d_, kDTypeOf<T>));
    scores_ = arena_.Floats(kSquare);
    slopes_ = arena_.Floats(kSquare);
    weights_ = RoomFor<T>(scores_, arena_);
    score_slopes_ = RoomFor<T>(slopes_, arena_);
    for (std::size_t h = 0; h < part_.group(); ++h) {
      std::fill_n(dq_, count, 0.0F);
      for (std::size_t block = 0; block < part_.tiles(); ++block) QueryBlock(h, block);
      Put(sink, first_token, part_.QueryAt(h), dq_);
    }
    Put(sink, first_token, part_.KeyAt(), dk_);
    Put(sink, first_token, part_.ValueAt(), dv_);
    EndStream(streams_);
  }

 private:
  void QueryBlock(std::size_t h, std::size_t block) {
    const AttentionShape& shape = part_.shape;
    const std::size_t rows = part_.TileTokens(block), first = block * kTile;
    const T* const queries = part_.qkv + first * part_.row() + part_.QueryAt(h);
    const std::size_t out_at = first * shape.width() + part_.QueryAt(h);
    const T* const dout = dout_ + out_at;
    const PackedOperand query_rows = PackRows(queries, part_.row(), rows, d_, query_rows_);
    const PackedOperand dout_rows = PackRows(dout, shape.width(), rows, d_, dout_rows_);
    for (std::size_t r = 0; r < rows; ++r) {
      const T *const o = out_ + out_at + r * shape.width(), *const g = dout + r * shape.width();
      agreement_[r] = SumLanes(d_, [&](std::size_t i, std::size_t n) {
        return LoadUpTo(o + i, n) * LoadUpTo(g + i, n);
      });
    }
    for (std::size_t tile = part_.FirstTile(block); tile <= block; ++tile) {
      const std::size_t keys = part_.TileTokens(tile), at = tile * kTile;
      Product<T>({queries, part_.row(), 1}, PackedColumns(keys_, at, keys), rows, false, scores_,
                 kTile);
      Product<T>({dout, shape.width(), 1}, PackedColumns(values_, at, keys), rows, false, slopes_,
                 kTile);
      Wide([&] {
        for (std::size_t r = 0; r < rows; ++r) Row(h, first + r, r, tile);
      });
      // dV += P^T dO, dK += dS^T Q, dQ += dS K.
      Product<T>({weights_, 1, kTile}, dout_rows, keys, true, dv_ + at * d_, d_);
      Product<T>({score_slopes_, 1, kTile}, query_rows, keys, true, dk_ + at * d_, d_);
      const PackedOperand key_rows =
          PackRows(part_.qkv + at * part_.row() + part_.KeyAt(), part_.row(), keys, d_, key_rows_);
      Product<T>({score_slopes_, kTile, 1}, key_rows, rows, true, dq_ + first * d_, d_);
    }
  }

  // P and dS = P (dP - dO . O) scale of one query, from the scores and dP.
  void Row(std::size_t h, std::size_t token, std::size_t r, std::size_t tile) {
    const AttentionShape& shape = part_.shape;
    const RowStatistics s = statistics_[token * shape.heads + part_.kv_head * part_.group() + h];
    const Seen seen = KeysSeen(token, tile, shape.window);
    const float scale = ScaleOf(shape);
    const float agreement = agreement_[r];
    const float *const score = scores_ + r * kTile, *const slope = slopes_ + r * kTile;
    T *const weight = weights_ + r * kTile, *const score_slope = score_slopes_ + r * kTile;
    for (std::size_t j = 0; j < kTile; ++j) {
      const float p = FastExp(score[j] * scale - s.most) * s.share;
      const float ds = p * (slope[j] - agreement) * scale;
      weight[j] = T(seen.Has(j) ? p : 0.0F);
      score_slope[j] = T(seen.Has(j) ? ds : 0.0F);
    }
  }

  void Put(const GradientSink<T>& sink, std::size_t first_token, std::size_t column,
           const float* from) const {
    Wide([&] {
      for (std::size_t token = 0; token < part_.tokens; ++token) {
        T* const __restrict to = sink.data + (first_token + token) * part_.row() + column;
        const float* const row = from + token * d_;
        if (!sink.accumulate) {
          StoreRow(streams_, to, d_, [&](std::size_t i) { return row[i]; });
          continue;
        }
        for (std::size_t i = 0; i < d_; ++i) to[i] = T(ToFloat(to[i]) + row[i]);
      }
    });
  }

  const Part<T>& part_;
  const T *const out_, *const dout_;
  const RowStatistics* const statistics_;
  Arena& arena_;
  const std::size_t d_;
  bool streams_ = false;
  PackedOperand keys_, values_;
  float *dq_ = nullptr, *dk_ = nullptr, *dv_ = nullptr;
  float *key_rows_ = nullptr, *query_rows_ = nullptr, *dout_rows_ = nullptr;
  float *scores_ = nullptr, *slopes_ = nullptr;
  T *weights_ = nullptr, *score_slopes_ = nullptr;
  float agreement_[kTile] = {};  // dO . O of each query.
};

template <class T>
struct AttentionNode {
  Tensor qkv, out;
  const std::int32_t* starts;
  std::size_t sequences;
  AttentionShape shape;
  const RowStatistics* statistics;

  void Backward(Tape& tape, const T* dout) const {
    const auto sink = tape.SinkFor<T>(qkv);
    if (sink.data == nullptr) return;
    const bool streams = !sink.accumulate &&
                         Streams(sink.data, shape.head_dim * sizeof(T), qkv.elements() * sizeof(T));
    ForParts(tape.pool(), [&](const Part<T>& part, std::size_t first) {
      ops::Backward<T>(part, out.as<T>() + first * shape.width(), dout + first * shape.width(),
                       statistics + first * shape.heads)
          .Run(sink, first, streams);
    });
  }

  // body(part, its first token).
  template <class Body>
  void ForParts(ThreadPool* pool, const Body& body) const {
    ParallelFor(pool, sequences * shape.kv_heads, [&](std::size_t index) {
      const std::size_t s = index / shape.kv_heads;
      const auto first = static_cast<std::size_t>(starts[s]);
      const auto end = static_cast<std::size_t>(starts[s + 1]);
      if (first == end) return;
      body(Part<T>{shape, qkv.as<T>() + first * shape.packed_width(), end - first,
                   index % shape.kv_heads},
           first);
    });
  }
};

template <class T>
Tensor AttentionOf(Tape& tape, Tensor qkv, std::span<const std::int32_t> starts,
                   const AttentionShape& shape) {
  const std::size_t tokens = qkv.shape()[0];
  const bool records = tape.Records({qkv});
  Tensor out = tape.NewOutput({tokens, shape.width()}, kDTypeOf<T>);
  auto* const kept = tape.Scratch<std::int32_t>({starts.size()});
  std::copy(starts.begin(), starts.end(), kept);
  auto* const statistics = records ? tape.Scratch<RowStatistics>({tokens, shape.heads}) : nullptr;
  const AttentionNode<T> node{qkv, out, kept, starts.size() - 1, shape, statistics};
  node.ForParts(tape.pool(), [&](const Part<T>& part, std::size_t first) {
    Forward(part, out.as<T>() + first * shape.width(),
            records ? statistics + first * shape.heads : nullptr);
  });
  if (records) tape.Record(out, {qkv}, node);
  return out;
}

}  // namespace

Tensor CausalAttention(Tape& tape, Tensor qkv, std::span<const std::int32_t> starts,
                       const AttentionShape& shape) {
  MUSTER_CHECK(shape.heads > 0 && shape.kv_heads > 0 && shape.head_dim > 0 &&
                   shape.heads % shape.kv_heads == 0,
               std::to_string(shape.heads) + " heads over " + std::to_string(shape.kv_heads));
  MUSTER_CHECK(qkv.shape().rank() == 2 && qkv.shape()[1] == shape.packed_width(),
               "qkv " + qkv.shape().ToString() + ", but a token has " +
                   std::to_string(shape.packed_width()));
  MUSTER_CHECK(!starts.empty() && starts.front() == 0 &&
                   std::is_sorted(starts.begin(), starts.end()) &&
                   static_cast<std::size_t>(starts.back()) == qkv.shape()[0],
               "the sequences' starts do not ascend from 0 to the number of tokens");
  return Dispatch(qkv.type(), [&](auto element) {
    return AttentionOf<decltype(element)>(tape, qkv, starts, shape);
  });
}

}  // namespace muster::ops
