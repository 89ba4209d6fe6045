#include "tensor/kernels/batched_matmul.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/kernels/gemm.h"

namespace muster::ops {

namespace {

using kernels::GemmArgs;

// Multiply-adds of products that one thread makes together: small ones are not worth a block each.
constexpr std::size_t kBlockWork = std::size_t{1} << 16U;

// The matrices of a batch, one after the other; `transposed` reads [columns, rows].
template <class T>
struct Matrices {
  T* data;
  std::size_t rows, columns;
  bool transposed = false;

  Matrices Transpose() const { return {data, columns, rows, !transposed}; }
  kernels::Operand At(std::size_t item) const {
    const T* const first = data + item * rows * columns;
    return transposed ? kernels::Operand{first, 1, rows} : kernels::Operand{first, columns, 1};
  }
};

// c_i = a_i b_i, or c_i += a_i b_i, for the whole batch.
template <class T>
void Multiply(ThreadPool* pool, std::size_t batch, const Matrices<const T>& a,
              const Matrices<const T>& b, T* c, bool accumulate) {
  GemmArgs shape;
  shape.rows = a.rows;
  shape.inner = a.columns;
  shape.columns = b.columns;
  shape.type = shape.c_type = kDTypeOf<T>;
  shape.accumulate = accumulate;
  shape.c_row_stride = b.columns;
  const auto product = [&](std::size_t item, ThreadPool* sharing) {
    GemmArgs args = shape;
    args.a = a.At(item);
    args.b = b.At(item);
    args.c = c + item * a.rows * b.columns;
    kernels::Gemm(args, sharing);
  };
  // How the work is shared changes no bits, so it may depend on the threads.
  if (pool != nullptr && batch < 2 * pool->threads()) {
    for (std::size_t item = 0; item < batch; ++item) product(item, pool);
    return;
  }
  const std::size_t work = std::max<std::size_t>(1, a.rows * a.columns * b.columns);
  const std::size_t together = std::max<std::size_t>(1, kBlockWork / work);
  ParallelFor(pool, (batch + together - 1) / together, [&](std::size_t block) {
    const std::size_t end = std::min(batch, (block + 1) * together);
    for (std::size_t item = block * together; item < end; ++item) product(item, nullptr);
  });
}

template <class T>
struct BatchedMatmulNode {
  Tensor a, b;
  std::size_t batch, rows, inner, columns;
  bool b_transposed;

  Matrices<const T> A() const { return {a.as<T>(), rows, inner}; }
  Matrices<const T> B() const { return {b.as<T>(), inner, columns, b_transposed}; }

  // da = dy b^T; db = a^T dy, or where b is transposed db = dy^T a.
  void Backward(Tape& tape, const T* output_gradient) const {
    const Matrices<const T> dy{output_gradient, rows, columns};
    if (const GradientSink sink = tape.SinkFor<T>(a); sink.data != nullptr) {
      Multiply<T>(tape.pool(), batch, dy, B().Transpose(), sink.data, sink.accumulate);
    }
    if (const GradientSink sink = tape.SinkFor<T>(b); sink.data != nullptr) {
      if (b_transposed) {
        Multiply<T>(tape.pool(), batch, dy.Transpose(), A(), sink.data, sink.accumulate);
      } else {
        Multiply<T>(tape.pool(), batch, A().Transpose(), dy, sink.data, sink.accumulate);
      }
    }
  }
};

template <class T>
Tensor BatchedMatmulOf(Tape& tape, const BatchedMatmulNode<T>& node) {
  Tensor y = tape.NewOutput({node.batch, node.rows, node.columns}, kDTypeOf<T>);
  Multiply<T>(tape.pool(), node.batch, node.A(), node.B(), y.as<T>(), false);
  if (tape.Records({node.a, node.b})) tape.Record(y, {node.a, node.b}, node);
  return y;
}

}  // namespace

Tensor BatchedMatmul(Tape& tape, Tensor a, Tensor b, const BatchedMatmulOptions& options) {
  const Shape &left = a.shape(), &right = b.shape();
  const std::size_t inner_at = options.b_transposed ? 2 : 1;
  MUSTER_CHECK(
      left.rank() == 3 && right.rank() == 3 && left[0] == right[0] && left[2] == right[inner_at],
      "a batch of matrices " + left.ToString() + " with " + right.ToString() +
          (options.b_transposed ? ", transposed" : ""));
  return Dispatch(a.type(), [&](auto element) {
    using T = decltype(element);
    return BatchedMatmulOf(tape, BatchedMatmulNode<T>{a, b, left[0], left[1], left[2],
                                                      right[3 - inner_at], options.b_transposed});
  });
}

}  // namespace muster::ops
