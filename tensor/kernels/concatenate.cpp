#include "tensor/kernels/concatenate.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/check.h"
#include "tensor/kernels/add_rows.h"
#include "tensor/kernels/blocks.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Blocks.

constexpr std::size_t kPartsOfNode = 4;  // The most inputs that a node has.

// `runs` pieces of `length` elements, `stride` apart in memory: one index range of a dimension.
struct Runs {
  std::size_t runs, length, stride;
};

// A tensor around one of its dimensions: [outer, size, inner].
struct Around {
  std::size_t outer = 1, size = 1, inner = 1;
  Around(const Shape& shape, std::size_t dimension) : size(shape[dimension]) {
    for (std::size_t i = 0; i < dimension; ++i) outer *= shape[i];
    for (std::size_t i = dimension + 1; i < shape.rank(); ++i) inner *= shape[i];
  }
  Runs RunsOf(std::size_t indices) const { return {outer, indices * inner, size * inner}; }
};

Shape WithSize(const Shape& shape, std::size_t dimension, std::size_t size) {
  Shape result;
  for (std::size_t i = 0; i < shape.rank(); ++i) result.Append(i == dimension ? size : shape[i]);
  return result;
}

// body(run, begin, count) for all elements of the runs, in blocks of fixed size.
template <class Body>
void ForRuns(ThreadPool* pool, const Runs& runs, const Body& body) {
  const std::size_t piece = std::clamp<std::size_t>(runs.length, 1, kElementBlock);
  const std::size_t pieces = (runs.length + piece - 1) / piece;
  ForBlocks(pool, runs.runs * pieces, RowsPerBlock(piece), [&](std::size_t first, std::size_t n) {
    for (std::size_t i = first; i < first + n; ++i) {
      const std::size_t begin = i % pieces * piece;
      body(i / pieces, begin, std::min(piece, runs.length - begin));
    }
  });
}

// Runs that are apart to ones that touch, and back.
template <class T>
void CopyOut(ThreadPool* pool, const Runs& runs, const T* apart, T* together, bool accumulate) {
  ForRuns(pool, runs, [&](std::size_t run, std::size_t begin, std::size_t count) {
    CopyOrAdd(apart + run * runs.stride + begin, together + run * runs.length + begin, count,
              accumulate);
  });
}
template <class T>
void CopyIn(ThreadPool* pool, const Runs& runs, const T* together, T* apart, bool accumulate) {
  ForRuns(pool, runs, [&](std::size_t run, std::size_t begin, std::size_t count) {
    CopyOrAdd(together + run * runs.length + begin, apart + run * runs.stride + begin, count,
              accumulate);
  });
}

// Of up to four parts: there may be several nodes that pass on parts of one output's gradient.
template <class T>
struct ConcatenateNode {
  std::array<Tensor, kPartsOfNode> parts;
  std::array<Runs, kPartsOfNode> runs;
  std::array<std::size_t, kPartsOfNode> offsets;

  void Backward(Tape& tape, const T* dy) const {
    for (std::size_t i = 0; i < kPartsOfNode; ++i) {
      if (!parts[i]) continue;
      const auto sink = tape.SinkFor<T>(parts[i]);
      if (sink.data == nullptr) continue;
      CopyOut(tape.pool(), runs[i], dy + offsets[i], sink.data, sink.accumulate);
    }
  }
};

template <class T>
Tensor ConcatenateOf(Tape& tape, std::span<const Tensor> parts, std::size_t dimension,
                     const Shape& shape) {
  Tensor y = tape.NewOutput(shape, kDTypeOf<T>);
  const Around around(shape, dimension);
  std::size_t offset = 0;
  for (std::size_t first = 0; first < parts.size(); first += kPartsOfNode) {
    const std::size_t count = std::min(kPartsOfNode, parts.size() - first);
    ConcatenateNode<T> node{};
    for (std::size_t i = 0; i < count; ++i) {
      const Tensor part = node.parts[i] = parts[first + i];
      node.runs[i] = around.RunsOf(part.shape()[dimension]);
      node.offsets[i] = offset;
      CopyIn(tape.pool(), node.runs[i], part.as<T>(), y.as<T>() + offset, false);
      offset += node.runs[i].length;
    }
    const auto& p = node.parts;
    if (tape.Records({p[0], p[1], p[2], p[3]})) tape.Record(y, {p[0], p[1], p[2], p[3]}, node);
  }
  return y;
}

template <class T>
struct SliceNode {
  Tensor x;
  Runs runs;
  std::size_t offset;

  void Backward(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor<T>(x);
    if (!sink.accumulate) {
      ForBlocks(tape.pool(), x.elements(), kElementBlock,
                [&](std::size_t begin, std::size_t n) { std::fill_n(sink.data + begin, n, T(0)); });
    }
    CopyIn(tape.pool(), runs, dy, sink.data + offset, sink.accumulate);
  }
};

}  // namespace

Tensor Concatenate(Tape& tape, std::span<const Tensor> parts, std::size_t dimension) {
  MUSTER_CHECK(!parts.empty(), "the concatenation of no tensors");
  const Tensor first = parts[0];
  std::size_t size = 0;
  for (const Tensor& part : parts) {
    MUSTER_CHECK(part.shape().rank() == first.shape().rank() && part.type() == first.type() &&
                     part.shape() == WithSize(first.shape(), dimension, part.shape()[dimension]),
                 std::string(NameOf(part.type())) + " " + part.shape().ToString() + " beside " +
                     NameOf(first.type()) + " " + first.shape().ToString() + " along dimension " +
                     std::to_string(dimension));
    size += part.shape()[dimension];
  }
  return Dispatch(first.type(), [&](auto element) {
    return ConcatenateOf<decltype(element)>(tape, parts, dimension,
                                            WithSize(first.shape(), dimension, size));
  });
}

Tensor Slice(Tape& tape, Tensor x, std::size_t dimension, std::size_t begin, std::size_t count) {
  const std::size_t size = x.shape()[dimension];
  MUSTER_CHECK(begin <= size && count <= size - begin,
               std::to_string(count) + " from " + std::to_string(begin) + " along dimension " +
                   std::to_string(dimension) + " of " + x.shape().ToString());
  const Around around(x.shape(), dimension);
  const Runs runs = around.RunsOf(count);
  const std::size_t offset = begin * around.inner;
  return Dispatch(x.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewOutput(WithSize(x.shape(), dimension, count), kDTypeOf<T>);
    CopyOut(tape.pool(), runs, x.as<T>() + offset, y.as<T>(), false);
    if (tape.Records({x})) tape.Record(y, {x}, SliceNode<T>{x, runs, offset});
    return y;
  });
}

}  // namespace muster::ops
