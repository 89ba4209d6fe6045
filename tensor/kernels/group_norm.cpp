#include "tensor/kernels/group_norm.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/elementwise.h"

namespace muster::ops {

namespace {

// `samples` of [positions, groups, width] values; a sample's group of positions * width values is
// normalised.
struct NormShape {
  std::size_t samples, positions, groups, width;

  std::size_t channels() const { return groups * width; }
  std::size_t sample() const { return positions * channels(); }
  double count() const { return static_cast<double>(positions * width); }
};

struct Moments {
  float mean, inverse_deviation;
};

// Samples of one block: the parts of the parameters' gradients are added within it, then across.
constexpr std::size_t kSampleBlock = 64;

// Sum over the group of value(index of the element in its sample, channel): a row's elements in
// f32 in order of channels, rows in double in order of positions.
template <class Value>
double GroupSum(const NormShape& s, std::size_t group, const Value& value) {
  double total = 0.0;
  for (std::size_t position = 0; position < s.positions; ++position) {
    const std::size_t at = position * s.channels() + group * s.width;
    double row = 0.0;
    for (std::size_t i = 0; i < s.width; ++i) {
      row += static_cast<double>(value(at + i, group * s.width + i));
    }
    total += row;
  }
  return total;
}

Moments MomentsOf(const NormShape& s, const float* x, std::size_t group, float epsilon) {
  const double mean =
      GroupSum(s, group, [&](std::size_t i, std::size_t) { return x[i]; }) / s.count();
  const double variance = GroupSum(s, group,
                                   [&](std::size_t i, std::size_t) {
                                     const double difference = static_cast<double>(x[i]) - mean;
                                     return difference * difference;
                                   }) /
                          s.count();
  return {static_cast<float>(mean),
          static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(epsilon)))};
}

struct NormNode {
  Tensor x, gain, bias;
  NormShape shape;
  const Moments* moments;  // [samples, groups]

  void Backward(Tape& tape, const float* dy) const {
    const std::size_t channels = shape.channels();
    const std::size_t blocks = (shape.samples + kSampleBlock - 1) / kSampleBlock;
    const GradientSink dx = tape.SinkFor(x);
    float* const parts = tape.Scratch<float>({blocks, 2, channels});
    std::fill_n(parts, blocks * 2 * channels, 0.0F);
    ParallelFor(tape.pool(), blocks, [&](std::size_t block) {
      float* const dgain = parts + block * 2 * channels;
      const std::size_t end = std::min(shape.samples, (block + 1) * kSampleBlock);
      for (std::size_t sample = block * kSampleBlock; sample < end; ++sample) {
        AddParameterGradients(sample, dy, dgain, dgain + channels);
        if (dx.data == nullptr) continue;
        for (std::size_t group = 0; group < shape.groups; ++group) {
          InputGradient(sample, group, dy, dx);
        }
      }
    });
    PutSum(tape.SinkFor(gain), parts, blocks);
    PutSum(tape.SinkFor(bias), parts + channels, blocks);
  }

  // dgain += dy * normalised x, dbias += dy.
  void AddParameterGradients(std::size_t sample, const float* output_gradient, float* dgain,
                             float* dbias) const {
    const float* const values = x.data() + sample * shape.sample();
    const float* const dy = output_gradient + sample * shape.sample();
    for (std::size_t position = 0; position < shape.positions; ++position) {
      for (std::size_t group = 0; group < shape.groups; ++group) {
        const Moments& m = moments[sample * shape.groups + group];
        for (std::size_t i = 0; i < shape.width; ++i) {
          const std::size_t channel = group * shape.width + i;
          const std::size_t at = position * shape.channels() + channel;
          dgain[channel] += dy[at] * (values[at] - m.mean) * m.inverse_deviation;
          dbias[channel] += dy[at];
        }
      }
    }
  }

  // With g = dy * gain and n = normalised x: dx = (g - mean(g) - n * mean(g n)) / deviation.
  void InputGradient(std::size_t sample, std::size_t group, const float* output_gradient,
                     const GradientSink<float>& sink) const {
    const std::size_t begin = sample * shape.sample();
    const float* const values = x.data() + begin;
    const float* const dy = output_gradient + begin;
    const Moments& m = moments[sample * shape.groups + group];
    const float* const gains = gain.data();
    const auto g = [&](std::size_t at, std::size_t channel) { return dy[at] * gains[channel]; };
    const auto n = [&](std::size_t at) { return (values[at] - m.mean) * m.inverse_deviation; };
    const auto mean_g = static_cast<float>(GroupSum(shape, group, g) / shape.count());
    const auto mean_gn = static_cast<float>(
        GroupSum(shape, group,
                 [&](std::size_t at, std::size_t channel) { return g(at, channel) * n(at); }) /
        shape.count());
    for (std::size_t position = 0; position < shape.positions; ++position) {
      for (std::size_t i = 0; i < shape.width; ++i) {
        const std::size_t channel = group * shape.width + i;
        const std::size_t at = position * shape.channels() + channel;
        const float slope = (g(at, channel) - mean_g - n(at) * mean_gn) * m.inverse_deviation;
        float& to = sink.data[begin + at];
        to = sink.accumulate ? to + slope : slope;
      }
    }
  }

  void PutSum(const GradientSink<float>& sink, const float* parts, std::size_t blocks) const {
    if (sink.data == nullptr) return;
    const std::size_t channels = shape.channels();
    if (!sink.accumulate) std::fill_n(sink.data, channels, 0.0F);
    for (std::size_t block = 0; block < blocks; ++block) {
      for (std::size_t c = 0; c < channels; ++c) sink.data[c] += parts[block * 2 * channels + c];
    }
  }
};

Tensor Normalize(Tape& tape, Tensor x, Tensor gain, Tensor bias, const NormShape& shape,
                 float epsilon) {
  MUSTER_CHECK(gain.elements() == shape.channels() && bias.elements() == shape.channels(),
               "gain " + gain.shape().ToString() + " and bias " + bias.shape().ToString() +
                   " for x " + x.shape().ToString());
  Tensor y = tape.NewOutput(x.shape());
  auto* const moments = tape.Scratch<Moments>({shape.samples, shape.groups});
  const std::size_t blocks = (shape.samples + kSampleBlock - 1) / kSampleBlock;
  const float *const gains = gain.data(), *const biases = bias.data();
  ParallelFor(tape.pool(), blocks, [&](std::size_t block) {
    const std::size_t end = std::min(shape.samples, (block + 1) * kSampleBlock);
    for (std::size_t sample = block * kSampleBlock; sample < end; ++sample) {
      const float* const from = x.data() + sample * shape.sample();
      float* const to = y.data() + sample * shape.sample();
      for (std::size_t group = 0; group < shape.groups; ++group) {
        const Moments m = MomentsOf(shape, from, group, epsilon);
        moments[sample * shape.groups + group] = m;
        for (std::size_t position = 0; position < shape.positions; ++position) {
          for (std::size_t i = 0; i < shape.width; ++i) {
            const std::size_t channel = group * shape.width + i;
            const std::size_t at = position * shape.channels() + channel;
            to[at] = (from[at] - m.mean) * m.inverse_deviation * gains[channel] + biases[channel];
          }
        }
      }
    }
  });
  if (tape.Records({x, gain, bias})) {
    tape.Record(y, {x, gain, bias}, NormNode{x, gain, bias, shape, moments});
  }
  return y;
}

// A parameter of bf16 as f32; its gradient is f32 already.
struct WidenNode {
  Tensor parameter;
  void Backward(Tape& tape, const float* dy) const {
    const auto sink = tape.SinkFor(parameter);
    for (std::size_t i = 0; sink.data != nullptr && i < parameter.elements(); ++i) {
      sink.data[i] = sink.accumulate ? sink.data[i] + dy[i] : dy[i];
    }
  }
};

Tensor Widened(Tape& tape, Tensor parameter) {
  if (parameter.type() == DType::kF32) return parameter;
  const Tensor wide = tape.NewOutput(parameter.shape());
  kernels::Convert(parameter.as<BFloat16>(), wide.data(), parameter.elements());
  if (tape.Records({parameter})) tape.Record(wide, {parameter}, WidenNode{parameter});
  return wide;
}

}  // namespace

Tensor GroupNorm(Tape& tape, Tensor x, Tensor gain, Tensor bias, std::size_t groups,
                 float epsilon) {
  const Shape& s = x.shape();
  MUSTER_CHECK(s.rank() == 4 && groups > 0 && s[3] % groups == 0,
               std::to_string(groups) + " groups for x " + s.ToString());
  const Tensor y =
      Normalize(tape, Cast(tape, x, DType::kF32), Widened(tape, gain), Widened(tape, bias),
                {s[0], s[1] * s[2], groups, s[3] / groups}, epsilon);
  return Cast(tape, y, x.type());
}

}  // namespace muster::ops
