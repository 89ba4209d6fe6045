#include "tensor/kernels/conv2d.h"

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/convolution.h"
#include "tensor/kernels/onednn.h"
#include "tensor/kernels/pooling.h"
#include "tensor/kernels/row_sum.h"

namespace muster::ops {

namespace {

using kernels::ConvolutionShape;
using kernels::PoolShape;

// Samples that one thread computes at a time. Few enough for a block's images to stay in the
// second-level cache from one pass to the next, many enough to hide the cost of a call.
constexpr std::size_t kSampleBlock = 8;

std::size_t BlocksOf(std::size_t samples) { return (samples + kSampleBlock - 1) / kSampleBlock; }

// The shape of block `index` of the whole: kSampleBlock samples or the rest.
ConvolutionShape BlockOf(ConvolutionShape whole, std::size_t index) {
  whole.samples = std::min(kSampleBlock, whole.samples - index * kSampleBlock);
  return whole;
}

// parts[0] = the sum of `count` vectors of `size`, added in a fixed binary tree.
void TreeSum(float* parts, std::size_t count, std::size_t size) {
  for (std::size_t step = 1; step < count; step *= 2) {
    for (std::size_t left = 0; left + step < count; left += 2 * step) {
      float* const to = parts + left * size;
      const float* const from = parts + (left + step) * size;
      for (std::size_t i = 0; i < size; ++i) to[i] += from[i];
    }
  }
}

struct Conv2dNode {
  Tensor x, weight, bias;
  const float* y;
  const std::uint8_t* places;  // Of the pool's winners; null without a pool.
  ConvolutionShape shape;
  PoolShape pool;

  void Backward(Tape& tape, const float* dy) const {
    const ConvolutionShape first = BlockOf(shape, 0);
    const kernels::PackedSizes packed = kernels::SizesOfPackedWeights(first);
    const std::size_t blocks = BlocksOf(shape.samples);
    const GradientSink dx = tape.SinkFor(x);
    float* packed_weight = nullptr;
    if (dx.data != nullptr) {
      packed_weight = tape.arena().Floats(packed.input_gradient);
      kernels::PackForInputGradient(first, weight.data(), packed_weight);
    }
    float* const dw =
        weight.requires_gradient() ? tape.arena().Floats(blocks * packed.weight_gradient) : nullptr;
    float* const db = bias.requires_gradient() ? tape.arena().Floats(blocks * shape.out) : nullptr;
    ParallelFor(tape.pool(), blocks, [&](std::size_t index) {
      const ConvolutionShape block = BlockOf(shape, index);
      const float* const slope =
          BeforePool(block, index, dy, db == nullptr ? nullptr : db + index * shape.out);
      if (dw != nullptr) {
        kernels::ConvolutionWeightGradient(block, x.data() + index * first.input_elements(), slope,
                                           dw + index * packed.weight_gradient);
      }
      if (dx.data != nullptr) BlockInputGradient(block, index, slope, packed_weight, dx);
    });
    PutSum(tape.SinkFor(bias), db, blocks, shape.out);
    if (const GradientSink sink = tape.SinkFor(weight); sink.data != nullptr) {
      TreeSum(dw, blocks, packed.weight_gradient);
      PutUnpacked(tape, sink, first, dw);
    }
  }

  // The gradient of the block's convolution, before relu and pool, and the sums of its channels.
  // Each pooled gradient has one winner, so the mask and the sums need only the pooled image.
  const float* BeforePool(const ConvolutionShape& block, std::size_t index, const float* dy,
                          float* bias_gradient) const {
    kernels::OneDnn& onednn = kernels::OneDnn::ThisThread();
    const std::size_t begin = index * kSampleBlock * pool.output();
    const std::size_t count = block.samples * pool.output();
    const float* slope = dy + begin;
    if (shape.relu) {
      float* const masked = onednn.Scratch(0, count);
      kernels::ActivationBackward(Activation::kRelu, y + begin, slope, masked, count);
      slope = masked;
    }
    if (bias_gradient != nullptr) {
      kernels::SumRows(slope, count / shape.out, shape.out, bias_gradient);
    }
    if (places == nullptr) return slope;
    float* const spread = onednn.Scratch(1, block.output_elements());
    if (!pool.tiles()) std::fill_n(spread, block.output_elements(), 0.0F);
    for (std::size_t sample = 0; sample < block.samples; ++sample) {
      kernels::MaxPoolBackward(pool, places + begin + sample * pool.output(),
                               slope + sample * pool.output(), !pool.tiles(),
                               spread + sample * pool.image());
    }
    return spread;
  }

  void BlockInputGradient(const ConvolutionShape& block, std::size_t index, const float* dy,
                          const float* packed_weight, const GradientSink<float>& dx) const {
    const std::size_t count = block.input_elements();
    float* const to = dx.data + index * kSampleBlock * (shape.input_elements() / shape.samples);
    if (!dx.accumulate) {
      kernels::ConvolutionInputGradient(block, dy, packed_weight, to);
      return;
    }
    float* const part = kernels::OneDnn::ThisThread().Scratch(2, count);
    kernels::ConvolutionInputGradient(block, dy, packed_weight, part);
    for (std::size_t i = 0; i < count; ++i) to[i] += part[i];
  }

  static void PutSum(const GradientSink<float>& sink, float* parts, std::size_t count,
                     std::size_t size) {
    if (sink.data == nullptr) return;
    TreeSum(parts, count, size);
    for (std::size_t i = 0; i < size; ++i) {
      sink.data[i] = sink.accumulate ? sink.data[i] + parts[i] : parts[i];
    }
  }

  void PutUnpacked(Tape& tape, const GradientSink<float>& sink, const ConvolutionShape& block,
                   const float* dw) const {
    if (!sink.accumulate) {
      kernels::UnpackWeightGradient(block, dw, sink.data);
      return;
    }
    float* const unpacked = tape.arena().Floats(weight.elements());
    kernels::UnpackWeightGradient(block, dw, unpacked);
    for (std::size_t i = 0; i < weight.elements(); ++i) sink.data[i] += unpacked[i];
  }
};

ConvolutionShape ShapeOf(const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const Conv2dOptions& options) {
  const Shape& image = x.shape();
  const Shape& kernel = weight.shape();
  MUSTER_CHECK(image.rank() == 4 && kernel.rank() == 4 && image[3] == kernel[1] && image[0] > 0,
               "image " + image.ToString() + " with kernel " + kernel.ToString());
  MUSTER_CHECK(!bias || bias.elements() == kernel[0], "bias " + bias.shape().ToString());
  MUSTER_CHECK(options.stride > 0 && image[1] + 2 * options.padding >= kernel[2] &&
                   image[2] + 2 * options.padding >= kernel[3],
               "kernel " + kernel.ToString() + " larger than image " + image.ToString());
  ConvolutionShape shape;
  shape.samples = image[0];
  shape.height = image[1];
  shape.width = image[2];
  shape.in = image[3];
  shape.out = kernel[0];
  shape.kernel_height = kernel[2];
  shape.kernel_width = kernel[3];
  shape.stride = options.stride;
  shape.padding = options.padding;
  shape.out_height = (image[1] + 2 * options.padding - kernel[2]) / options.stride + 1;
  shape.out_width = (image[2] + 2 * options.padding - kernel[3]) / options.stride + 1;
  shape.bias = static_cast<bool>(bias);
  shape.relu = options.relu;
  return shape;
}

// The max pool after the convolution; with a window of 1 its output is its input.
PoolShape PoolOf(const ConvolutionShape& shape, std::size_t window) {
  MUSTER_CHECK(
      window >= 1 && window <= 16 && shape.out_height >= window && shape.out_width >= window,
      "a pool of " + std::to_string(window) + " after the convolution");
  return {shape.samples,
          shape.out_height,
          shape.out_width,
          shape.out,
          shape.out_height / window,
          shape.out_width / window,
          window,
          window};
}

// One block of samples: convolution straight to y, or by way of this thread's scratch memory,
// which stays in its cache, to the pooled y.
void BlockForward(const ConvolutionShape& block, const PoolShape& pool, const float* x,
                  const float* packed, const float* bias, float* y, std::uint8_t* places) {
  if (places == nullptr) {
    kernels::ConvolutionForward(block, x, packed, bias, y);
    return;
  }
  float* const image = kernels::OneDnn::ThisThread().Scratch(0, block.output_elements());
  kernels::ConvolutionForward(block, x, packed, bias, image);
  for (std::size_t sample = 0; sample < block.samples; ++sample) {
    kernels::MaxPoolForward(pool, image + sample * pool.image(), y + sample * pool.output(),
                            places + sample * pool.output());
  }
}

}  // namespace

Tensor Conv2d(Tape& tape, Tensor x, Tensor weight, Tensor bias, const Conv2dOptions& options) {
  const ConvolutionShape shape = ShapeOf(x, weight, bias, options);
  const ConvolutionShape first = BlockOf(shape, 0);
  const PoolShape pool = PoolOf(shape, options.max_pool);
  float* const packed = tape.arena().Floats(kernels::SizesOfPackedWeights(first).forward);
  kernels::PackForward(first, weight.data(), packed);
  Tensor y = tape.NewOutput({shape.samples, pool.out_height, pool.out_width, shape.out});
  auto* const places = options.max_pool == 1
                           ? nullptr
                           : static_cast<std::uint8_t*>(tape.arena().Allocate(y.elements()));
  ParallelFor(tape.pool(), BlocksOf(shape.samples), [&](std::size_t index) {
    const std::size_t begin = index * kSampleBlock * pool.output();
    BlockForward(BlockOf(shape, index), pool, x.data() + index * first.input_elements(), packed,
                 bias ? bias.data() : nullptr, y.data() + begin,
                 places == nullptr ? nullptr : places + begin);
  });
  if (tape.Records({x, weight, bias})) {
    tape.Record(y, {x, weight, bias}, Conv2dNode{x, weight, bias, y.data(), places, shape, pool});
  }
  return y;
}

}  // namespace muster::ops
