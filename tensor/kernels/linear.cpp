#include "tensor/kernels/linear.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/packed_weights.h"
#include "tensor/kernels/row_sum.h"

namespace muster::ops {

namespace {

using kernels::Gemm;
using kernels::GemmArgs;

constexpr std::size_t kActivationRows = 128;  // That a thread takes at a time.

template <class T>
struct LinearNode {
  Tensor x, weight, bias;
  std::size_t rows, in, out;
  const T* saved;  // What the activation's slope is found from.
  Activation activation;

  void Backward(Tape& tape, const T* output_gradient) const {
    const T* const dy = BeforeActivation(tape, output_gradient);
    BiasGradient(tape, dy);
    WeightGradient(tape.pool(), tape.SinkFor(weight), dy);
    InputGradient(tape.pool(), tape.SinkFor<T>(x), dy);
  }

  const T* BeforeActivation(Tape& tape, const T* dy) const {
    if (activation == Activation::kNone) return dy;
    T* const masked = tape.Scratch<T>({rows, out});
    ParallelFor(tape.pool(), (rows + kActivationRows - 1) / kActivationRows, [&](std::size_t i) {
      const std::size_t begin = i * kActivationRows * out;
      const std::size_t count = std::min(kActivationRows * out, rows * out - begin);
      kernels::ActivationBackward(activation, saved + begin, dy + begin, masked + begin, count);
    });
    return masked;
  }

  void BiasGradient(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor(bias);
    if (sink.data == nullptr) return;
    // SumRows' own blocks, which the pool shares, in their order.
    constexpr std::size_t kBlock = kernels::kSumRowsBlock;
    float* const parts = tape.Scratch<float>({(rows + kBlock - 1) / kBlock, out});
    kernels::ForBlocks(tape.pool(), rows, kBlock, [&](std::size_t begin, std::size_t count) {
      kernels::SumRows(dy + begin * out, count, out, parts + begin / kBlock * out);
    });
    float* const sums = sink.accumulate ? tape.Scratch<float>({out}) : sink.data;
    std::fill_n(sums, out, 0.0F);
    for (std::size_t begin = 0; begin < rows; begin += kBlock) {
      kernels::AddTo(parts + begin / kBlock * out, sums, out);
    }
    if (sink.accumulate) kernels::AddTo(sums, sink.data, out);
  }

  // dW[out, in] = dy^T x.
  void WeightGradient(ThreadPool* pool, const GradientSink<float>& sink, const T* dy) const {
    if (sink.data == nullptr) return;
    GemmArgs product;
    product.rows = out;
    product.columns = in;
    product.inner = rows;
    product.type = kDTypeOf<T>;
    product.a = {dy, 1, out};
    product.b = {x.as<T>(), in, 1};
    product.accumulate = sink.accumulate;
    product.c = sink.data;
    product.c_row_stride = in;
    Gemm(product, pool);
  }

  // dx[rows, in] = dy W.
  void InputGradient(ThreadPool* pool, const GradientSink<T>& sink, const T* dy) const {
    if (sink.data == nullptr) return;
    GemmArgs product;
    product.rows = rows;
    product.columns = in;
    product.inner = out;
    product.type = product.c_type = kDTypeOf<T>;
    product.a = {dy, out, 1};
    product.b = {weight.as<T>(), in, 1};
    product.accumulate = sink.accumulate;
    product.c = sink.data;
    product.c_row_stride = in;
    Gemm(product, pool);
  }
};

template <class T>
Tensor LinearOf(Tape& tape, Tensor x, Tensor weight, Tensor bias, Activation activation) {
  const std::size_t in = x.shape().last(), out = weight.shape()[0];
  std::size_t rows = 1;
  for (std::size_t i = 0; i + 1 < x.shape().rank(); ++i) rows *= x.shape()[i];
  const bool records = tape.Records({x, weight, bias});
  const bool keeps_input = records && kernels::SlopeNeedsInput(activation);
  Tensor y = tape.NewOutput({rows, out}, kDTypeOf<T>);
  T* const before = keeps_input ? tape.Scratch<T>({rows, out}) : nullptr;
  GemmArgs product;
  product.rows = rows;
  product.columns = out;
  product.inner = in;
  product.type = product.c_type = kDTypeOf<T>;
  product.a = {x.as<T>(), in, 1};
  product.b = {weight.as<T>(), 1, in};
  product.bias = bias ? bias.as<T>() : nullptr;
  product.activation = activation;
  product.c = y.as<T>();
  product.c_row_stride = out;
  product.before_activation = before;
  if (tape.packed() != nullptr) {
    kernels::GemmPacked(product, tape.packed()->Of(weight), tape.pool());
  } else {
    Gemm(product, tape.pool());
  }
  if (records) {
    const T* const saved = keeps_input ? before : y.as<T>();
    tape.Record(y, {x, weight, bias},
                LinearNode<T>{x, weight, bias, rows, in, out, saved, activation});
  }
  return y;
}

}  // namespace

Tensor Linear(Tape& tape, Tensor x, Tensor weight, Tensor bias, Activation activation) {
  const std::size_t in = x.shape().last();
  MUSTER_CHECK(weight.shape().rank() == 2 && weight.shape()[1] == in,
               "input " + x.shape().ToString() + " with weight " + weight.shape().ToString());
  MUSTER_CHECK(!bias || bias.elements() == weight.shape()[0], "bias " + bias.shape().ToString());
  return Dispatch(x.type(), [&](auto element) {
    return LinearOf<decltype(element)>(tape, x, weight, bias, activation);
  });
}

}  // namespace muster::ops
