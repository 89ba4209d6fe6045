#include "tensor/kernels/linear.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/row_sum.h"

namespace muster::ops {

namespace {

using kernels::MatMul;

// Blocks that threads share. Large enough that oneDNN's packing of the other operand, which is
// repeated for each block, costs little.
constexpr std::size_t kRowBlock = 128;
constexpr std::size_t kColumnBlock = 256;

struct Block {
  std::size_t row, rows, column, columns;
};

// body(Block) for every block of a [rows, columns] result.
template <class Body>
void ForBlocks(ThreadPool* pool, std::size_t rows, std::size_t columns, const Body& body) {
  const std::size_t down = (rows + kRowBlock - 1) / kRowBlock;
  const std::size_t across = (columns + kColumnBlock - 1) / kColumnBlock;
  ParallelFor(pool, down * across, [&](std::size_t index) {
    const std::size_t row = index / across * kRowBlock;
    const std::size_t column = index % across * kColumnBlock;
    body(Block{row, std::min(kRowBlock, rows - row), column,
               std::min(kColumnBlock, columns - column)});
  });
}

struct LinearNode {
  Tensor x, weight, bias;
  std::size_t rows, in, out;
  const float* saved;  // What the activation's slope is found from.
  Activation activation;

  void Backward(Tape& tape, const float* output_gradient) const {
    const float* const dy = BeforeActivation(tape, output_gradient);
    BiasGradient(tape, dy);
    WeightGradient(tape.pool(), tape.SinkFor(weight), dy);
    InputGradient(tape.pool(), tape.SinkFor(x), dy);
  }

  const float* BeforeActivation(Tape& tape, const float* dy) const {
    if (activation == Activation::kNone) return dy;
    float* const masked = tape.arena().Floats(rows * out);
    ParallelFor(tape.pool(), (rows + kRowBlock - 1) / kRowBlock, [&](std::size_t block) {
      const std::size_t begin = block * kRowBlock * out;
      const std::size_t count = std::min(kRowBlock * out, rows * out - begin);
      kernels::ActivationBackward(activation, saved + begin, dy + begin, masked + begin, count);
    });
    return masked;
  }

  void BiasGradient(Tape& tape, const float* dy) const {
    const GradientSink sink = tape.SinkFor(bias);
    if (sink.data == nullptr) return;
    float* const sums = sink.accumulate ? tape.arena().Floats(out) : sink.data;
    kernels::SumRows(dy, rows, out, sums);
    for (std::size_t o = 0; sink.accumulate && o < out; ++o) sink.data[o] += sums[o];
  }

  // dW[out, in] = dy^T x.
  void WeightGradient(ThreadPool* pool, const GradientSink& sink, const float* dy) const {
    if (sink.data == nullptr) return;
    ForBlocks(pool, out, in, [&](const Block& block) {
      MatMul({.rows = block.rows,
              .columns = block.columns,
              .inner = rows,
              .a = {dy + block.row, 1, out},
              .b = {x.data() + block.column, in, 1},
              .accumulate = sink.accumulate,
              .c = sink.data + block.row * in + block.column,
              .c_row_stride = in});
    });
  }

  // dx[rows, in] = dy W.
  void InputGradient(ThreadPool* pool, const GradientSink& sink, const float* dy) const {
    if (sink.data == nullptr) return;
    ForBlocks(pool, rows, in, [&](const Block& block) {
      MatMul({.rows = block.rows,
              .columns = block.columns,
              .inner = out,
              .a = {dy + block.row * out, out, 1},
              .b = {weight.data() + block.column, in, 1},
              .accumulate = sink.accumulate,
              .c = sink.data + block.row * in + block.column,
              .c_row_stride = in});
    });
  }
};

}  // namespace

Tensor Linear(Tape& tape, Tensor x, Tensor weight, Tensor bias, Activation activation) {
  const std::size_t in = x.shape().last();
  MUSTER_CHECK(weight.shape().rank() == 2 && weight.shape()[1] == in && in > 0,
               "input " + x.shape().ToString() + " with weight " + weight.shape().ToString());
  const std::size_t out = weight.shape()[0];
  MUSTER_CHECK(!bias || bias.elements() == out, "bias " + bias.shape().ToString());
  const std::size_t rows = x.elements() / in;
  const bool records = tape.Records({x, weight, bias});
  const bool keeps_input = records && kernels::SlopeNeedsInput(activation);

  Tensor y = tape.NewOutput({rows, out});
  float* const before = keeps_input ? tape.arena().Floats(rows * out) : y.data();
  ForBlocks(tape.pool(), rows, out, [&](const Block& block) {
    const std::size_t at = block.row * out + block.column;
    MatMul({.rows = block.rows,
            .columns = block.columns,
            .inner = in,
            .a = {x.data() + block.row * in, in, 1},
            .b = {weight.data() + block.column * in, 1, in},
            .bias = bias ? bias.data() + block.column : nullptr,
            .relu = activation == Activation::kRelu,
            .c = before + at,
            .c_row_stride = out});
    if (activation == Activation::kNone || activation == Activation::kRelu) return;
    for (std::size_t row = 0; row < block.rows; ++row) {
      kernels::ActivationForward(activation, before + at + row * out, y.data() + at + row * out,
                                 block.columns);
    }
  });
  if (records) {
    const float* const saved = keeps_input ? before : y.data();
    tape.Record(y, {x, weight, bias},
                LinearNode{x, weight, bias, rows, in, out, saved, activation});
  }
  return y;
}

}  // namespace muster::ops
