#include "tensor/kernels/row_norm.h"

#include <cmath>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/stream.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Lanes.

// Rows of one block: the parts of the parameters' gradients are added within it, then across.
constexpr std::size_t kRowBlock = 64;

struct Moments {
  float mean, scale;  // y = (x - mean) * scale, before gain and bias; mean 0 in an RMS norm.
};

template <class T>
Moments MomentsOf(const T* x, std::size_t width, float epsilon, bool centred) {
  const auto count = static_cast<float>(width);
  float mean = 0;
  if (centred) {
    mean =
        SumLanes(width, [&](std::size_t i, std::size_t n) { return LoadUpTo(x + i, n); }) / count;
  }
  const float squares = SumLanes(width, [&](std::size_t i, std::size_t n) {
    Lanes d = LoadUpTo(x + i, n) - mean;
    for (std::size_t lane = n; lane < kLanes; ++lane) d[lane] = 0;
    return d * d;
  });
  return {mean, 1.0F / std::sqrt(squares / count + epsilon)};
}

// dgain += dy * normalised x.
template <class T>
void AddGainGradient(const T* x, const T* dy, const Moments& moments, std::size_t width,
                     float* __restrict dgain) {
  const Moments m = moments;
  for (std::size_t i = 0; i < width; ++i) {
    dgain[i] += ToFloat(dy[i]) * ((ToFloat(x[i]) - m.mean) * m.scale);
  }
}

template <class T>
void AddRow(const T* dy, std::size_t width, float* __restrict dbias) {
  for (std::size_t i = 0; i < width; ++i) dbias[i] += ToFloat(dy[i]);
}

template <class T>
struct RowNormNode {
  Tensor x, gain, bias;  // No bias: an RMS norm.
  std::size_t rows, width;
  const Moments* moments;  // [rows]

  void Backward(Tape& tape, const T* dy) const {
    const auto dx = tape.SinkFor<T>(x);
    const std::size_t row_bytes = width * sizeof(T);
    const bool streams = !dx.accumulate && Streams(dx.data, row_bytes, rows * row_bytes);
    const std::size_t blocks = (rows + kRowBlock - 1) / kRowBlock;
    float* const parts = tape.Scratch<float>({blocks, 2, width});
    ForBlocks(tape.pool(), rows, kRowBlock, [&](std::size_t begin, std::size_t count) {
      float* const dgain = parts + begin / kRowBlock * 2 * width;
      std::fill_n(dgain, 2 * width, 0.0F);
      Wide([&] {
        for (std::size_t row = begin; row < begin + count; ++row) {
          const T* const values = x.as<T>() + row * width;
          if (row + 1 < rows) {
            FetchRow(values + width, row_bytes);
            FetchRow(dy + (row + 1) * width, row_bytes);
            if (dx.accumulate) FetchRow(dx.data + (row + 1) * width, row_bytes);
          }
          AddGainGradient(values, dy + row * width, moments[row], width, dgain);
          if (bias) AddRow(dy + row * width, width, dgain + width);
          if (dx.data != nullptr) InputGradient(row, dy + row * width, dx, streams);
        }
      });
      EndStream(streams);
    });
    PutSum(tape.SinkFor(gain), parts, blocks);
    if (bias) PutSum(tape.SinkFor(bias), parts + width, blocks);
  }

  // With g = dy * gain and n = normalised x: dx = (g - mean(g) - n * mean(g n)) * scale, without
  // the mean of g where the norm does not centre.
  void InputGradient(std::size_t row, const T* dy, const GradientSink<T>& sink,
                     bool streams) const {
    const T* const values = x.as<T>() + row * width;
    const T* const gains = gain.as<T>();
    const Moments m = moments[row];
    const auto g = [&](std::size_t i, std::size_t n) {
      return LoadUpTo(dy + i, n) * LoadUpTo(gains + i, n);
    };
    const auto normal = [&](std::size_t i, std::size_t n) {
      return (LoadUpTo(values + i, n) - m.mean) * m.scale;
    };
    const auto count = static_cast<float>(width);
    const float mean_g = bias ? SumLanes(width, g) / count : 0.0F;
    const float mean_gn = SumLanes(width,
                                   [&](std::size_t i, std::size_t n) {
                                     return g(i, n) * normal(i, n);  // g is 0 beyond the end.
                                   }) /
                          count;
    T* const __restrict to = sink.data + row * width;
    const auto slope = [&](std::size_t i) {
      const float n = (ToFloat(values[i]) - m.mean) * m.scale;
      return (ToFloat(dy[i]) * ToFloat(gains[i]) - mean_g - n * mean_gn) * m.scale;
    };
    if (!sink.accumulate) return StoreRow(streams, to, width, slope);
    for (std::size_t i = 0; i < width; ++i) to[i] = T(slope(i) + ToFloat(to[i]));
  }

  void PutSum(const GradientSink<float>& sink, const float* parts, std::size_t blocks) const {
    if (sink.data == nullptr) return;
    if (!sink.accumulate) std::fill_n(sink.data, width, 0.0F);
    for (std::size_t block = 0; block < blocks; ++block) {
      AddTo(parts + block * 2 * width, sink.data, width);
    }
  }
};

template <class T>
void NormalizeRow(const T* x, const Moments& moments, const T* gain, const T* bias, bool streams,
                  T* __restrict y, std::size_t width) {
  const Moments m = moments;
  StoreRow(streams, y, width, [&](std::size_t i) {
    const float value = (ToFloat(x[i]) - m.mean) * m.scale * ToFloat(gain[i]);
    return bias != nullptr ? value + ToFloat(bias[i]) : value;
  });
}

template <class T>
void AddRows(const T* left, const T* right, T* __restrict sums, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) sums[i] = T(ToFloat(left[i]) + ToFloat(right[i]));
}

// The norm of x, or with a residual that of their sum, which goes into `sum`.
template <class T>
Tensor Normalize(Tape& tape, Tensor x, Tensor residual, Tensor sum, Tensor gain, Tensor bias,
                 float epsilon) {
  const std::size_t width = x.shape().last();
  const std::size_t rows = x.elements() / width;
  const Tensor normed = residual ? sum : x;
  Tensor y = tape.NewOutput(x.shape(), kDTypeOf<T>);
  auto* const moments = tape.Scratch<Moments>({rows});
  const T *const values = normed.as<T>(), *const gains = gain.as<T>();
  const T* const biases = bias ? bias.as<T>() : nullptr;
  const T* const left = x.as<T>();
  const T* const right = residual ? residual.as<T>() : nullptr;
  T *const to = y.as<T>(), *const sums = residual ? sum.as<T>() : nullptr;
  const std::size_t row_bytes = width * sizeof(T);
  const bool streams = Streams(to, row_bytes, rows * row_bytes);
  ForBlocks(tape.pool(), rows, kRowBlock, [&](std::size_t begin, std::size_t count) {
    Wide([&] {
      for (std::size_t row = begin; row < begin + count; ++row) {
        const std::size_t at = row * width;
        if (row + 1 < rows) {
          FetchRow(left + at + width, row_bytes);
          if (right != nullptr) FetchRow(right + at + width, row_bytes);
        }
        if (right != nullptr) AddRows(left + at, right + at, sums + at, width);
        moments[row] = MomentsOf(values + at, width, epsilon, /*centred=*/biases != nullptr);
        NormalizeRow(values + at, moments[row], gains, biases, streams, to + at, width);
      }
    });
    EndStream(streams);
  });
  if (tape.Records({normed, gain, bias})) {
    tape.Record(y, {normed, gain, bias}, RowNormNode<T>{normed, gain, bias, rows, width, moments});
  }
  return y;
}

void Check(Tensor x, Tensor gain, Tensor bias) {
  const std::size_t width = x.shape().last();
  MUSTER_CHECK(width > 0, "a norm over no elements");
  MUSTER_CHECK(gain.elements() == width && (!bias || bias.elements() == width),
               "gain " + gain.shape().ToString() + " for x " + x.shape().ToString());
}

Tensor Norm(Tape& tape, Tensor x, Tensor gain, Tensor bias, float epsilon) {
  Check(x, gain, bias);
  return Dispatch(x.type(), [&](auto element) {
    return Normalize<decltype(element)>(tape, x, Tensor(), Tensor(), gain, bias, epsilon);
  });
}

SumAndNorm AddNorm(Tape& tape, Tensor x, Tensor residual, Tensor gain, Tensor bias, float epsilon) {
  Check(x, gain, bias);
  return Dispatch(x.type(), [&](auto element) {
    SumAndNorm result;
    result.sum = UnfilledSum(tape, x, residual);
    result.y = Normalize<decltype(element)>(tape, x, residual, result.sum, gain, bias, epsilon);
    return result;
  });
}

}  // namespace

Tensor LayerNorm(Tape& tape, Tensor x, Tensor gain, Tensor bias, float epsilon) {
  return Norm(tape, x, gain, bias, epsilon);
}

Tensor RmsNorm(Tape& tape, Tensor x, Tensor gain, float epsilon) {
  return Norm(tape, x, gain, Tensor(), epsilon);
}

SumAndNorm AddLayerNorm(Tape& tape, Tensor x, Tensor residual, Tensor gain, Tensor bias,
                        float epsilon) {
  return AddNorm(tape, x, residual, gain, bias, epsilon);
}

SumAndNorm AddRmsNorm(Tape& tape, Tensor x, Tensor residual, Tensor gain, float epsilon) {
  return AddNorm(tape, x, residual, gain, Tensor(), epsilon);
}

}  // namespace muster::ops
