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

// e^(x - largest) of up to eight elements, 0 beyond the end.
template <class T>
Lanes Exponentials(const T* x, std::size_t i, std::size_t n, float largest) {
  Lanes values = FastExp(LoadUpTo(x + i, n) - largest);
  for (std::size_t lane = n; lane < kLanes; ++lane) values[lane] = 0;
  return values;
}

template <class T>
RowScale ScaleOf(const T* x, std::size_t width) {
  const float largest =
      MaxLanes(width, [&](std::size_t i, std::size_t n) { return LoadUpTo(x + i, n); });
  const double sum = SumLongRow(
      width, [&](std::size_t i, std::size_t n) { return Exponentials(x, i, n, largest); });
  return {largest, static_cast<float>(sum)};
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
      for (std::size_t row = begin; row < begin + count; ++row) {
        BackwardRow(row, dy + row * width, sink);
      }
    });
  }

  // softmax: dx = p (dy - sum of dy p); its logarithm: dx = dy - p * sum of dy.
  void BackwardRow(std::size_t row, const T* dy, const GradientSink<T>& sink) const {
    const T* const values = x.as<T>() + row * width;
    const RowScale scale = scales[row];
    const auto p = [&](std::size_t i, std::size_t n) {
      return Exponentials(values, i, n, scale.largest) / scale.sum;
    };
    const auto sum = static_cast<float>(SumLongRow(width, [&](std::size_t i, std::size_t n) {
      const Lanes g = LoadUpTo(dy + i, n);
      return kLog ? g : g * p(i, n);
    }));
    T* const to = sink.data + row * width;
    Wide([&] {
      for (std::size_t i = 0; i < width; ++i) {
        const float g = ToFloat(dy[i]);
        const float share = FastExp(ToFloat(values[i]) - scale.largest) / scale.sum;
        const float slope = kLog ? g - share * sum : share * (g - sum);
        to[i] = T(sink.accumulate ? slope + ToFloat(to[i]) : slope);
      }
    });
  }
};

template <class T, bool kLog>
Tensor SoftmaxOf(Tape& tape, Tensor x) {
  const std::size_t width = x.shape().last(), rows = x.elements() / width;
  Tensor y = tape.NewOutput(x.shape(), kDTypeOf<T>);
  auto* const scales = tape.arena().Array<RowScale>(rows);
  const T* const values = x.as<T>();
  T* const outputs = y.as<T>();
  ForBlocks(tape.pool(), rows, RowsPerBlock(width), [&](std::size_t begin, std::size_t count) {
    for (std::size_t row = begin; row < begin + count; ++row) {
      const T* const from = values + row * width;
      T* const to = outputs + row * width;
      const RowScale scale = scales[row] = ScaleOf(from, width);
      const float log_sum = kLog ? FastLog(scale.sum) : 0.0F;
      Wide([&] {
        for (std::size_t i = 0; i < width; ++i) {
          const float shifted = ToFloat(from[i]) - scale.largest;
          to[i] = T(kLog ? shifted - log_sum : FastExp(shifted) / scale.sum);
        }
      });
    }
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
