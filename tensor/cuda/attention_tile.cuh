// One tile of attention, what the forward, backward and decode kernels share.
//
// A tile is kTile queries by kTile keys. A block's 256 threads are 16 groups of 16: group `r` has
// rows 4 r to 4 r + 3 of the tile, its thread `c` columns c, c + 16, c + 32 and c + 48, and of
// head_dim columns c, c + 16, ... A group is half a warp, so a row's maximum and sum are shuffles.
// Every sum is one chain of fused multiply-adds in ascending order of its index.
#pragma once

#include <limits>

#include "tensor/cuda/block.cuh"
#include "tensor/cuda/network_args.h"

namespace muster::cuda {

inline constexpr unsigned kTile = 64;   // kAttentionTile: keys counted from the sequence's first.
inline constexpr unsigned kGroup = 16;  // Threads that share a row.
inline constexpr unsigned kRows = 4;    // Of a thread; also its columns of a tile.
inline constexpr unsigned kDimPiece = 32;  // Of head_dim, that is in shared memory at once.
inline constexpr unsigned kRowPiece = 16;  // Rows of whole head_dim that are.
inline constexpr unsigned kDimMax = 256;
static_assert(kGroup * kGroup == kThreads && kGroup * kRows == kTile);

// Columns of head_dim that a thread has; head_dim <= kGroup * kColumns.
template <unsigned kColumns>
using RowSums = float[kRows][kColumns];

struct TileThread {
  unsigned group = threadIdx.x / kGroup, column = threadIdx.x % kGroup;

  __device__ unsigned Row(unsigned i) const { return group * kRows + i; }
  __device__ unsigned Column(unsigned j) const { return column + kGroup * j; }
};

// Rows of one head in global memory: row r, `rows` of them, begins at data + r * stride.
template <class T>
struct HeadRows {
  const T* data;
  std::size_t stride, rows;

  __device__ float At(unsigned row, unsigned column) const {
    return ToFloat(data[row * stride + column]);
  }
};

// Room for pieces of two tiles, or for kRowPiece rows.
struct Staging {
  float a[kTile][kDimPiece + 1];  // One more: neighbouring rows are in different banks.
  float b[kTile][kDimPiece + 1];
};
static_assert(sizeof(Staging) >= kRowPiece * kDimMax * sizeof(float));

// Of the tile's rows from `row` on, columns [begin, begin + kDimPiece); zeros beyond the ends.
template <class T>
__device__ void LoadPiece(const HeadRows<T>& from, unsigned head_dim, unsigned begin,
                          float (&to)[kTile][kDimPiece + 1]) {
  for (unsigned i = threadIdx.x; i < kTile * kDimPiece; i += kThreads) {
    const unsigned row = i / kDimPiece, column = begin + i % kDimPiece;
    const bool inside = row < from.rows && column < head_dim;
    to[row][i % kDimPiece] = inside ? from.At(row, column) : 0.0F;
  }
}

// products[i][j] = a[Row(i)] . b[Column(j)].
template <class A, class B>
__device__ void TileProduct(const HeadRows<A>& a, const HeadRows<B>& b, unsigned head_dim,
                            Staging& staging, float (&products)[kRows][kRows]) {
  const TileThread thread;
  for (auto& row : products) {
    for (float& product : row) product = 0;
  }
  for (unsigned begin = 0; begin < head_dim; begin += kDimPiece) {
    LoadPiece(a, head_dim, begin, staging.a);
    LoadPiece(b, head_dim, begin, staging.b);
    __syncthreads();
    const unsigned count = head_dim - begin < kDimPiece ? head_dim - begin : kDimPiece;
    for (unsigned k = 0; k < count; ++k) {
      for (unsigned i = 0; i < kRows; ++i) {
        for (unsigned j = 0; j < kRows; ++j) {
          products[i][j] =
              fmaf(staging.a[thread.Row(i)][k], staging.b[thread.Column(j)][k], products[i][j]);
        }
      }
    }
    __syncthreads();
  }
}

// sums[i][j] += over the tile's rows k < from.rows of weights[Row(i)][k] from[k][Column(j)].
template <unsigned kColumns, class T>
__device__ void AddWeighted(const float (&weights)[kTile][kTile + 1], const HeadRows<T>& from,
                            unsigned head_dim, Staging& staging, RowSums<kColumns>& sums) {
  const TileThread thread;
  float* const rows = &staging.a[0][0];  // [kRowPiece, head_dim]
  for (unsigned begin = 0; begin < from.rows; begin += kRowPiece) {
    const auto left = static_cast<unsigned>(from.rows) - begin;
    const unsigned count = left < kRowPiece ? left : kRowPiece;
    for (unsigned i = threadIdx.x; i < count * head_dim; i += kThreads) {
      rows[i] = from.At(begin + i / head_dim, i % head_dim);
    }
    __syncthreads();
    for (unsigned k = 0; k < count; ++k) {
#pragma unroll  // Or the sums would not stay in registers.
      for (unsigned j = 0; j < kColumns; ++j) {
        const unsigned column = thread.Column(j);
        const float value = column < head_dim ? rows[k * head_dim + column] : 0.0F;
#pragma unroll
        for (unsigned i = 0; i < kRows; ++i) {
          sums[i][j] = fmaf(weights[thread.Row(i)][begin + k], value, sums[i][j]);
        }
      }
    }
    __syncthreads();
  }
}

// Where a sequence's parts are.
struct Sequence {
  std::size_t first, tokens;

  __device__ Sequence(const std::int32_t* starts, std::size_t number)
      : first(static_cast<std::size_t>(starts[number])),
        tokens(static_cast<std::size_t>(starts[number + 1]) - first) {}
  __device__ std::size_t tiles() const { return (tokens + kTile - 1) / kTile; }
  __device__ std::size_t TileTokens(std::size_t tile) const {
    return tokens - tile * kTile < kTile ? tokens - tile * kTile : kTile;
  }
};

struct HeadLayout {
  std::size_t dim, row, key_at, value_at;  // Of kv_head 0; `row` elements a token.

  __device__ explicit HeadLayout(const AttentionSizes& s)
      : dim(s.head_dim),
        row((s.heads + 2 * s.kv_heads) * s.head_dim),
        key_at(s.heads * s.head_dim),
        value_at((s.heads + s.kv_heads) * s.head_dim) {}
};

// Whether the sequence's token `query` sees its token `key`.
__device__ inline bool Sees(std::size_t query, std::size_t key, std::size_t window) {
  return key <= query && (window == 0 || query - key < window);
}

// The first tile that has a key which `query` sees.
__device__ inline std::size_t FirstTileOf(std::size_t query, std::size_t window) {
  return window == 0 || query + 1 <= window ? 0 : (query + 1 - window) / kTile;
}

// The softmax of one query so far.
struct RunningSoftmax {
  float most = -std::numeric_limits<float>::infinity(), sum = 0;

  // Turns this thread's scores of a tile, times scale already, into weights relative to the new
  // maximum, 0 where `seen` is not. Called by the kGroup threads that share the row; returns what
  // the output so far is multiplied by.
  __device__ float Take(float (&scores)[kRows], const bool (&seen)[kRows]) {
    float here = -std::numeric_limits<float>::infinity();
    float any = 0;
    for (unsigned j = 0; j < kRows; ++j) {
      if (!seen[j]) continue;
      here = Larger()(scores[j], here);
      any = 1;
    }
    here = WarpReduce<kGroup>(here, Larger());
    any = WarpReduce<kGroup>(any, Plus());
    const bool none = any == 0;
    const float now = none || most > here ? most : here;  // NaN comes through.
    const float shrink = none ? 1.0F : kernels::FastExp(most - now);
    float total = 0;
    for (unsigned j = 0; j < kRows; ++j) {
      scores[j] = seen[j] ? kernels::FastExp(scores[j] - now) : 0.0F;
      total += scores[j];
    }
    total = WarpReduce<kGroup>(total, Plus());
    sum = sum * shrink + total;
    most = now;
    return shrink;
  }
};

}  // namespace muster::cuda

// function<T, columns of a thread>(arguments) for the type and head_dim, which is at most kDimMax.
#define MUSTER_BY_HEAD(type, head_dim, function, ...)                                     \
  ((head_dim) <= 64                                                                       \
       ? ((type) == ::muster::DType::kF32 ? function<float, 4>(__VA_ARGS__)               \
                                          : function<::muster::BFloat16, 4>(__VA_ARGS__)) \
   : (head_dim) <= 128                                                                    \
       ? ((type) == ::muster::DType::kF32 ? function<float, 8>(__VA_ARGS__)               \
                                          : function<::muster::BFloat16, 8>(__VA_ARGS__)) \
       : ((type) == ::muster::DType::kF32 ? function<float, 16>(__VA_ARGS__)              \
                                          : function<::muster::BFloat16, 16>(__VA_ARGS__)))
