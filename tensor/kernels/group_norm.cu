#include <cmath>

#include "tensor/cuda/block.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

// A group of one sample: element e of it is channel `width` * group + e % width of position
// e / width. A block of threads to each.
struct Group {
  std::size_t first;  // Where the sample's first channel of the group is.
  std::size_t channels, width, count, channel;

  template <class Args>
  __device__ static Group Of(const Args& args) {
    const std::size_t sample = blockIdx.x / args.groups, group = blockIdx.x % args.groups;
    const std::size_t channels = args.groups * args.width;
    return {sample * args.positions * channels + group * args.width, channels, args.width,
            args.positions * args.width, group * args.width};
  }
  __device__ std::size_t At(std::size_t e) const {
    return first + e / width * channels + e % width;
  }
  __device__ std::size_t Channel(std::size_t e) const { return channel + e % width; }
};

__global__ void ForwardGroup(GroupNormForwardArgs args) {
  const Group group = Group::Of(args);
  const float* const x = args.x;
  const auto count = static_cast<double>(group.count);
  const double mean =
      BlockSumInDouble(group.count, [=](std::size_t e) { return x[group.At(e)]; }) / count;
  const double variance = BlockSumInDouble(group.count,
                                           [=](std::size_t e) {
                                             const double d =
                                                 static_cast<double>(x[group.At(e)]) - mean;
                                             return d * d;
                                           }) /
                          count;
  const auto m = static_cast<float>(mean);
  const auto scale =
      static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(args.epsilon)));
  for (std::size_t e = threadIdx.x; e < group.count; e += kThreads) {
    const std::size_t at = group.At(e), c = group.Channel(e);
    args.y[at] = (x[at] - m) * scale * args.gain[c] + args.bias[c];
  }
  if (args.moments != nullptr && threadIdx.x == 0) {
    args.moments[2 * blockIdx.x] = m;
    args.moments[2 * blockIdx.x + 1] = scale;
  }
}

// With g = dy * gain and n = normalised x: dx = (g - mean(g) - n * mean(g n)) / deviation.
__global__ void InputGradientOfGroup(GroupNormBackwardArgs args) {
  const Group group = Group::Of(args);
  const float *const x = args.x, *const dy = args.dy, *const gain = args.gain;
  const float mean = args.moments[2 * blockIdx.x], scale = args.moments[2 * blockIdx.x + 1];
  const auto g = [=](std::size_t e) { return dy[group.At(e)] * gain[group.Channel(e)]; };
  const auto n = [=](std::size_t e) { return (x[group.At(e)] - mean) * scale; };
  const auto count = static_cast<double>(group.count);
  const auto mean_g = static_cast<float>(BlockSumInDouble(group.count, g) / count);
  const auto mean_gn = static_cast<float>(
      BlockSumInDouble(group.count, [=](std::size_t e) { return g(e) * n(e); }) / count);
  for (std::size_t e = threadIdx.x; e < group.count; e += kThreads) {
    Put(args.dx[group.At(e)], (g(e) - mean_g - n(e) * mean_gn) * scale, args.accumulate_x);
  }
}

// Of one sample: parts[sample, 0, c] = sum over positions of dy * normalised x, [sample, 1, c] of
// dy.
void ParameterGradientParts(Stream& stream, const GroupNormBackwardArgs& args, float* parts) {
  const GroupNormBackwardArgs a = args;
  const std::size_t channels = args.groups * args.width;
  ForEach(stream, args.samples * channels, [=] __device__(std::size_t i) {
    const std::size_t sample = i / channels, c = i % channels;
    const std::size_t group = sample * a.groups + c / a.width;
    const float mean = a.moments[2 * group], scale = a.moments[2 * group + 1];
    float dgain = 0, dbias = 0;
    for (std::size_t position = 0; position < a.positions; ++position) {
      const std::size_t at = (sample * a.positions + position) * channels + c;
      dgain += a.dy[at] * (a.x[at] - mean) * scale;
      dbias += a.dy[at];
    }
    parts[sample * 2 * channels + c] = dgain;
    parts[(sample * 2 + 1) * channels + c] = dbias;
  });
}

void PutSum(Stream& stream, const float* parts, std::size_t samples, std::size_t channels,
            float* to, bool accumulate) {
  ForEach(stream, to == nullptr ? 0 : channels, [=] __device__(std::size_t c) {
    float sum = accumulate ? to[c] : 0.0F;
    for (std::size_t sample = 0; sample < samples; ++sample) {
      sum += parts[sample * 2 * channels + c];
    }
    to[c] = sum;
  });
}

}  // namespace

void GroupNormForward(Stream& stream, const GroupNormForwardArgs& args) {
  Launch(stream, BlocksOf(args.samples * args.groups, 1), kThreads, ForwardGroup, args);
}

void GroupNormBackward(Stream& stream, const GroupNormBackwardArgs& args) {
  if (args.dx != nullptr) {
    Launch(stream, BlocksOf(args.samples * args.groups, 1), kThreads, InputGradientOfGroup, args);
  }
  if (args.dgain == nullptr && args.dbias == nullptr) return;
  const std::size_t channels = args.groups * args.width;
  auto* const parts = stream.Scratch<float>(args.samples * 2 * channels);
  ParameterGradientParts(stream, args, parts);
  PutSum(stream, parts, args.samples, channels, args.dgain, args.accumulate_gain);
  PutSum(stream, parts + channels, args.samples, channels, args.dbias, args.accumulate_bias);
}

}  // namespace muster::cuda
