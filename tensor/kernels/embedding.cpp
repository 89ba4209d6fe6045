#include "tensor/kernels/embedding.h"

#include "base/check.h"
#include "tensor/kernels/add_rows.h"

namespace muster::ops {

namespace {

template <class T>
struct EmbeddingNode {
  Tensor table;
  std::span<const std::int32_t> ids;

  void Backward(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor(table);
    const std::size_t rows = table.shape()[0];
    const auto sorted = kernels::SortByRow(tape, ids, rows);
    kernels::AddRows(tape.pool(), sorted, rows, table.shape()[1], dy, sink.data, sink.accumulate);
  }
};

template <class T>
Tensor EmbeddingOf(Tape& tape, Tensor table, std::span<const std::int32_t> ids) {
  const std::size_t width = table.shape()[1];
  Tensor y = tape.NewOutput({ids.size(), width}, kDTypeOf<T>);
  kernels::CopyRows(tape.pool(), ids, width, table.as<T>(), y.as<T>());
  if (tape.Records({table})) {
    tape.Record(y, {table}, EmbeddingNode<T>{table, kernels::KeepIndices(tape, ids)});
  }
  return y;
}

}  // namespace

Tensor Embedding(Tape& tape, Tensor table, std::span<const std::int32_t> ids) {
  MUSTER_CHECK(table.shape().rank() == 2, "an embedding's table " + table.shape().ToString());
  kernels::CheckIndices(ids, table.shape()[0], "token id");
  return Dispatch(table.type(),
                  [&](auto element) { return EmbeddingOf<decltype(element)>(tape, table, ids); });
}

}  // namespace muster::ops
