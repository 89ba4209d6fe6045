#include "tensor/kernels/softmax.h"

#include <cmath>
#include <string>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/lane_math.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/vector_math.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Lanes.

// p = e^(x - largest) / sum.
struct RowScale {
  float largest, sum;
};

float Share(float x, const RowScale& scale) { return FastExp(x - scale.largest) / scale.sum; }

// The sum of value(i) in SumLongRow's order: made in a loop of their own, then added.
template <class Value>
float SumOfValues(std::size_t width, const Value& value) {
  float values[kLongRowPart];
  double sum = 0;
  for (std::size_t begin = 0; begin < width; begin += kLongRowPart) {
    const std::size_t count = std::min(kLongRowPart, width - begin);
    for (std::size_t i = 0; i < count; ++i) values[i] = value(begin + i);
    sum += static_cast<double>(
        SumLanes(count, [&](std::size_t i, std::size_t n) { return LoadUpTo(values + i, n); }));
  }
  return static_cast<float>(sum);
}

template <class T>
RowScale ScaleOf(const T* x, std::size_t width) {
  const float largest =
      MaxLanes(width, [&](std::size_t i, std::size_t n) { return LoadUpTo(x + i, n); });
  return {largest,
          SumOfValues(width, [&](std::size_t i) { return FastExp(ToFloat(x[i]) - largest); })};
}

// The probabilities are made anew from x: those that were rounded to bf16 are too coarse.
template <class T, bool kLog>
struct SoftmaxNode {
  Tensor x;
  std::size_t rows, width;
  const RowScale* scales;  // [rows]

  void Backward(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor<T>(x);
    ForBlocks(tape.pool(), rows, RowsPerBlock(width), [&](std::size_t begin, std::size_t count) {
      Wide([&] {
        for (std::size_t row = begin; row < begin + count; ++row) {
          BackwardRow(row, dy + row * width, sink);
        }
      });
    });
  }

  // softmax: dx = p (dy - sum of dy p); its logarithm: dx = dy - p * sum of dy.
  void BackwardRow(std::size_t row, const T* dy, const GradientSink<T>& sink) const {
    const T* const values = x.as<T>() + row * width;
    const RowScale scale = scales[row];
    const float sum = SumOfValues(width, [=](std::size_t i) {
      const float g = ToFloat(dy[i]);
      return kLog ? g : g * Share(ToFloat(values[i]), scale);
    });
    const auto slope = [=](std::size_t i) {
      const float g = ToFloat(dy[i]), p = Share(ToFloat(values[i]), scale);
      return kLog ? g - p * sum : p * (g - sum);
    };
    T* const __restrict to = sink.data + row * width;
    const std::size_t count = width;
    if (sink.accumulate) {
      for (std::size_t i = 0; i < count; ++i) to[i] = T(slope(i) + ToFloat(to[i]));
    } else {
      for (std::size_t i = 0; i < count; ++i) to[i] = T(slope(i));
    }
  }
};

template <class T, bool kLog>
Tensor SoftmaxOf(Tape& tape, Tensor x) {
  const std::size_t width = x.shape().last(), rows = x.elements() / width;
  Tensor y = tape.NewOutput(x.shape(), kDTypeOf<T>);
  auto* const scales = tape.Scratch<RowScale>({rows});
  const T* const values = x.as<T>();
  T* const outputs = y.as<T>();
  ForBlocks(tape.pool(), rows, RowsPerBlock(width), [&](std::size_t begin, std::size_t count) {
    Wide([&] {
      for (std::size_t row = begin; row < begin + count; ++row) {
        const T* const from = values + row * width;
        T* const __restrict to = outputs + row * width;
        const RowScale scale = scales[row] = ScaleOf(from, width);
        const float log_sum = kLog ? FastLog(scale.sum) : 0.0F;
        for (std::size_t i = 0; i < width; ++i) {
          const float shifted = ToFloat(from[i]) - scale.largest;
          to[i] = T(kLog ? shifted - log_sum : FastExp(shifted) / scale.sum);
        }
      }
    });
  });
  if (tape.Records({x})) tape.Record(y, {x}, SoftmaxNode<T, kLog>{x, rows, width, scales});
  return y;
}

template <bool kLog>
Tensor Dispatched(Tape& tape, Tensor x) {
  MUSTER_CHECK(x.shape().last() > 0, "a softmax over no elements, of " + x.shape().ToString());
  return Dispatch(x.type(),
                  [&](auto element) { return SoftmaxOf<decltype(element), kLog>(tape, x); });
}

}  // namespace

Tensor Softmax(Tape& tape, Tensor x) { return Dispatched<false>(tape, x); }

Tensor LogSoftmax(Tape& tape, Tensor x) { return Dispatched<true>(tape, x); }

}  // namespace muster::ops
