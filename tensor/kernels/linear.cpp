#include "tensor/kernels/linear.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/packed_weights.h"
#include "tensor/kernels/row_sum.h"
#include "tensor/kernels/stream.h"

namespace muster::ops {

namespace {

using kernels::Gemm;
using kernels::GemmArgs;

// Rows whose sum, a part of the bias's gradient, a thread makes at a time: SumRows' blocks.
constexpr std::size_t kRowBlock = kernels::kSumRowsBlock;

template <class T>
struct LinearNode {
  Tensor x, weight, bias;
  std::size_t rows, in, out;
  const T* saved;  // What the activation's slope is found from.
  Activation activation;

  void Backward(Tape& tape, const T* output_gradient) const {
    const auto dbias = tape.SinkFor(bias);
    const bool activated = activation != Activation::kNone;
    float* const parts = dbias.data == nullptr && !activated
                             ? nullptr
                             : tape.Scratch<float>({(rows + kRowBlock - 1) / kRowBlock, out});
    const T* const dy =
        activated ? BeforeActivation(tape, output_gradient, parts) : output_gradient;
    if (dbias.data != nullptr) {
      if (!activated) SumBlocks(tape.pool(), dy, parts);
      BiasGradient(tape, dbias, parts);
    }
    WeightGradient(tape.pool(), tape.SinkFor(weight), dy);
    InputGradient(tape.pool(), tape.SinkFor<T>(x), dy);
  }

  // And the sums of its rows, in parts.
  const T* BeforeActivation(Tape& tape, const T* dy, float* parts) const {
    T* const masked = tape.Scratch<T>({rows, out});
    const std::size_t row_bytes = out * sizeof(T);
    const bool streams = kernels::Streams(masked, row_bytes, rows * row_bytes);
    kernels::ForBlocks(tape.pool(), rows, kRowBlock, [&](std::size_t begin, std::size_t count) {
      float* const sums = parts + begin / kRowBlock * out;
      const std::size_t at = begin * out;
      if (!streams) {
        kernels::ActivationBackward(activation, saved + at, dy + at, masked + at, count * out);
        kernels::SumRows(masked + at, count, out, sums);
        return;
      }
      // What is streamed is far when it is written: its sums are made on the way.
      std::fill_n(sums, out, 0.0F);
      kernels::StreamActivationBackward(activation, saved + at, dy + at, count, out, masked + at,
                                        sums);
    });
    return masked;
  }

  void SumBlocks(ThreadPool* pool, const T* dy, float* parts) const {
    kernels::ForBlocks(pool, rows, kRowBlock, [&](std::size_t begin, std::size_t count) {
      kernels::SumRows(dy + begin * out, count, out, parts + begin / kRowBlock * out);
    });
  }

  // The parts in their order.
  void BiasGradient(Tape& tape, const GradientSink<float>& sink, const float* parts) const {
    float* const sums = sink.accumulate ? tape.Scratch<float>({out}) : sink.data;
    std::fill_n(sums, out, 0.0F);
    for (std::size_t begin = 0; begin < rows; begin += kRowBlock) {
      kernels::AddTo(parts + begin / kRowBlock * out, sums, out);
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
