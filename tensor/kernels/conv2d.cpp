#include "tensor/kernels/conv2d.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/convolution.h"
#include "tensor/kernels/onednn.h"

namespace muster::ops {

namespace {

using kernels::ConvolutionShape;

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
  ConvolutionShape shape;

  void Backward(Tape& tape, const float* dy) const {
    const ConvolutionShape first = BlockOf(shape, 0);
    const kernels::PackedSizes packed = kernels::SizesOfPackedWeights(first);
    const GradientSink dx = tape.SinkFor(x);
    const bool weights = weight.requires_gradient() || bias.requires_gradient();
    const std::size_t blocks = BlocksOf(shape.samples);
    float* packed_weight = nullptr;
    if (dx.data != nullptr) {
      packed_weight = tape.arena().Floats(packed.input_gradient);
      kernels::PackForInputGradient(first, weight.data(), packed_weight);
    }
    float* const dw = weights ? tape.arena().Floats(blocks * packed.weight_gradient) : nullptr;
    float* const db = weights && bias ? tape.arena().Floats(blocks * shape.out) : nullptr;
    ParallelFor(tape.pool(), blocks, [&](std::size_t index) {
      const ConvolutionShape block = BlockOf(shape, index);
      const float* const masked = BeforeRelu(block, index, dy);
      if (weights) {
        kernels::ConvolutionWeightGradient(block, x.data() + index * first.input_elements(), masked,
                                           dw + index * packed.weight_gradient,
                                           db == nullptr ? nullptr : db + index * shape.out);
      }
      if (dx.data != nullptr) BlockInputGradient(block, index, masked, packed_weight, dx);
    });
    if (bias) PutSum(tape.SinkFor(bias), db, blocks, shape.out);
    if (const GradientSink sink = tape.SinkFor(weight); sink.data != nullptr) {
      TreeSum(dw, blocks, packed.weight_gradient);
      PutUnpacked(tape, sink, first, dw);
    }
  }

  const float* BeforeRelu(const ConvolutionShape& block, std::size_t index, const float* dy) const {
    const std::size_t begin = index * kSampleBlock * (shape.output_elements() / shape.samples);
    if (!shape.relu) return dy + begin;
    const std::size_t count = block.output_elements();
    float* const masked = kernels::OneDnn::ThisThread().Scratch(0, count);
    kernels::ActivationBackward(Activation::kRelu, y + begin, dy + begin, masked, count);
    return masked;
  }

  void BlockInputGradient(const ConvolutionShape& block, std::size_t index, const float* dy,
                          const float* packed_weight, const GradientSink& dx) const {
    const std::size_t count = block.input_elements();
    float* const to = dx.data + index * kSampleBlock * (shape.input_elements() / shape.samples);
    if (!dx.accumulate) {
      kernels::ConvolutionInputGradient(block, dy, packed_weight, to);
      return;
    }
    float* const part = kernels::OneDnn::ThisThread().Scratch(1, count);
    kernels::ConvolutionInputGradient(block, dy, packed_weight, part);
    for (std::size_t i = 0; i < count; ++i) to[i] += part[i];
  }

  static void PutSum(const GradientSink& sink, float* parts, std::size_t count, std::size_t size) {
    if (sink.data == nullptr) return;
    TreeSum(parts, count, size);
    for (std::size_t i = 0; i < size; ++i) {
      sink.data[i] = sink.accumulate ? sink.data[i] + parts[i] : parts[i];
    }
  }

  void PutUnpacked(Tape& tape, const GradientSink& sink, const ConvolutionShape& block,
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

}  // namespace

Tensor Conv2d(Tape& tape, Tensor x, Tensor weight, Tensor bias, const Conv2dOptions& options) {
  const ConvolutionShape shape = ShapeOf(x, weight, bias, options);
  const ConvolutionShape first = BlockOf(shape, 0);
  float* const packed = tape.arena().Floats(kernels::SizesOfPackedWeights(first).forward);
  kernels::PackForward(first, weight.data(), packed);
  Tensor y = tape.NewOutput({shape.samples, shape.out_height, shape.out_width, shape.out});
  ParallelFor(tape.pool(), BlocksOf(shape.samples), [&](std::size_t index) {
    kernels::ConvolutionForward(BlockOf(shape, index), x.data() + index * first.input_elements(),
                                packed, bias ? bias.data() : nullptr,
                                y.data() + index * first.output_elements());
  });
  if (tape.Records({x, weight, bias})) {
    tape.Record(y, {x, weight, bias}, Conv2dNode{x, weight, bias, y.data(), shape});
  }
  return y;
}

}  // namespace muster::ops
