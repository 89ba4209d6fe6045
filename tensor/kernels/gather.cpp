#include "tensor/kernels/gather.h"

#include <string>

#include "base/check.h"
#include "tensor/kernels/add_rows.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Rows.

// How many elements one of the first dimension's rows has; `shape` has that dimension.
std::size_t WidthOf(const Shape& shape) {
  std::size_t width = 1;
  for (std::size_t i = 1; i < shape.rank(); ++i) width *= shape[i];
  return width;
}

Shape WithRows(const Shape& shape, std::size_t rows) {
  Shape result = {rows};
  for (std::size_t i = 1; i < shape.rank(); ++i) result.Append(shape[i]);
  return result;
}

template <class T>
struct GatherNode {
  Tensor x;
  std::span<const std::int32_t> indices;
  void Backward(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor<T>(x);
    const std::size_t rows = x.shape()[0];
    const RowPositions sorted = SortByRow(tape, indices, rows);
    AddRows(tape.pool(), sorted, rows, WidthOf(x.shape()), dy, sink.data, sink.accumulate);
  }
};

template <class T>
struct ScatterAddNode {
  Tensor x;
  std::span<const std::int32_t> indices;
  void Backward(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor<T>(x);
    CopyRows(tape.pool(), indices, WidthOf(x.shape()), dy, sink.data, sink.accumulate);
  }
};

}  // namespace

Tensor GatherRows(Tape& tape, Tensor x, std::span<const std::int32_t> indices) {
  MUSTER_CHECK(x.shape().rank() > 0, "rows of a tensor without dimensions");
  CheckIndices(indices, x.shape()[0], "index");
  return Dispatch(x.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewOutput(WithRows(x.shape(), indices.size()), kDTypeOf<T>);
    CopyRows(tape.pool(), indices, WidthOf(x.shape()), x.as<T>(), y.as<T>());
    if (tape.Records({x})) {
      tape.Record(y, {x}, GatherNode<T>{x, KeepIndices(tape, indices)});
    }
    return y;
  });
}

Tensor ScatterAddRows(Tape& tape, Tensor x, std::span<const std::int32_t> indices,
                      std::size_t rows) {
  MUSTER_CHECK(x.shape().rank() > 0 && x.shape()[0] == indices.size(),
               std::to_string(indices.size()) + " indices for rows of " + x.shape().ToString());
  CheckIndices(indices, rows, "index");
  return Dispatch(x.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewOutput(WithRows(x.shape(), rows), kDTypeOf<T>);
    const RowPositions sorted = SortByRow(tape, indices, rows);
    AddRows(tape.pool(), sorted, rows, WidthOf(x.shape()), x.as<T>(), y.as<T>(), false);
    if (tape.Records({x})) {
      tape.Record(y, {x}, ScatterAddNode<T>{x, KeepIndices(tape, indices)});
    }
    return y;
  });
}

}  // namespace muster::ops
