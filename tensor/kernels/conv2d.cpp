#include "tensor/kernels/conv2d.h"

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/convolution.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/onednn.h"
#include "tensor/kernels/pooling.h"
#include "tensor/kernels/row_sum.h"

namespace muster::ops {

namespace {

using kernels::ConvolutionPass;
using kernels::ConvolutionShape;
using kernels::PoolShape;

// Samples of which one thread makes the gradients at a time. Few enough for their images to stay in
// the second-level cache from one pass to the next; a partial weight gradient is kept of each.
constexpr std::size_t kSampleBlock = kernels::kWeightGradientSamples;

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

template <class T>
struct Conv2dNode {
  Tensor x, weight, bias;
  const T* y;
  const std::uint8_t* places;  // Of the pool's winners; null without a pool.
  ConvolutionShape shape;
  PoolShape pool;

  void Backward(Tape& tape, const T* dy) const {
    const std::size_t blocks = (pool.samples + kSampleBlock - 1) / kSampleBlock;
    const GradientSink dx = tape.SinkFor<T>(x);
    float* packed_weight = nullptr;
    if (dx.data != nullptr) {
      packed_weight =
          tape.Scratch<float>({kernels::PackedFloats(shape, ConvolutionPass::kInputGradient)});
      kernels::PackForInputGradient(shape, weight.as<T>(), packed_weight);
    }
    float *dw = nullptr, *db = nullptr;
    std::size_t dw_size = 0;
    if (weight.requires_gradient()) {
      dw_size = kernels::PackedFloats(shape, ConvolutionPass::kWeightGradient);
      dw = tape.Scratch<float>({blocks, dw_size});
    }
    if (bias.requires_gradient()) db = tape.Scratch<float>({blocks, shape.out});
    ParallelFor(tape.pool(), blocks, [&](std::size_t block) {
      const std::size_t begin = block * kSampleBlock;
      const std::size_t count = std::min(kSampleBlock, pool.samples - begin);
      const T* const slope =
          BeforePool(begin, count, dy, db == nullptr ? nullptr : db + block * shape.out);
      if (dw != nullptr) {
        kernels::ConvolutionWeightGradient(shape, count, x.as<T>() + begin * shape.image(), slope,
                                           dw + block * dw_size);
      }
      for (std::size_t i = 0; dx.data != nullptr && i < count; ++i) {
        InputGradient(slope + i * shape.output(), packed_weight,
                      dx.data + (begin + i) * shape.image(), dx.accumulate);
      }
    });
    PutSum(tape.SinkFor(bias), db, blocks, shape.out);
    if (const GradientSink sink = tape.SinkFor(weight); sink.data != nullptr) {
      TreeSum(dw, blocks, dw_size);
      PutUnpacked(tape, sink, dw);
    }
  }

  // The gradient of these samples' convolution, before relu and pool, and the sums of its channels.
  // Each pooled gradient has one winner, so the mask and the sums need only the pooled image.
  const T* BeforePool(std::size_t begin, std::size_t samples, const T* dy,
                      float* bias_gradient) const {
    kernels::OneDnn& onednn = kernels::OneDnn::ThisThread();
    const std::size_t at = begin * pool.output(), count = samples * pool.output();
    const T* slope = dy + at;
    if (shape.relu) {
      T* const masked = onednn.Scratch<T>(0, count);
      kernels::ActivationBackward(Activation::kRelu, y + at, slope, masked, count);
      slope = masked;
    }
    if (bias_gradient != nullptr) {
      kernels::SumRows(slope, count / shape.out, shape.out, bias_gradient);
    }
    if (places == nullptr) return slope;
    T* const spread = onednn.Scratch<T>(1, samples * shape.output());
    if (!pool.tiles()) std::fill_n(spread, samples * shape.output(), T(0.0F));
    for (std::size_t i = 0; i < samples; ++i) {
      kernels::MaxPoolBackward(pool, places + at + i * pool.output(), slope + i * pool.output(),
                               false, spread + i * pool.image());
    }
    return spread;
  }

  void InputGradient(const T* dy, const float* packed_weight, T* dx, bool accumulate) const {
    if (!accumulate) {
      kernels::ConvolutionInputGradient(shape, dy, packed_weight, dx);
      return;
    }
    T* const part = kernels::OneDnn::ThisThread().Scratch<T>(2, shape.image());
    kernels::ConvolutionInputGradient(shape, dy, packed_weight, part);
    kernels::ForLanes(shape.image(), [&](std::size_t i, std::size_t n) {
      kernels::StoreUpTo(dx + i, kernels::LoadUpTo(dx + i, n) + kernels::LoadUpTo(part + i, n), n);
    });
  }

  static void PutSum(const GradientSink<float>& sink, float* parts, std::size_t count,
                     std::size_t size) {
    if (sink.data == nullptr) return;
    TreeSum(parts, count, size);
    for (std::size_t i = 0; i < size; ++i) {
      sink.data[i] = sink.accumulate ? sink.data[i] + parts[i] : parts[i];
    }
  }

  void PutUnpacked(Tape& tape, const GradientSink<float>& sink, const float* dw) const {
    if (!sink.accumulate) {
      kernels::UnpackWeightGradient(shape, dw, sink.data);
      return;
    }
    float* const unpacked = tape.Scratch<float>(weight.shape());
    kernels::UnpackWeightGradient(shape, dw, unpacked);
    for (std::size_t i = 0; i < weight.elements(); ++i) sink.data[i] += unpacked[i];
  }
};

ConvolutionShape ShapeOf(const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const Conv2dOptions& options) {
  const Shape& image = x.shape();
  const Shape& kernel = weight.shape();
  MUSTER_CHECK(image.rank() == 4 && kernel.rank() == 4 && image[3] == kernel[1],
               "image " + image.ToString() + " with kernel " + kernel.ToString());
  MUSTER_CHECK(!bias || bias.elements() == kernel[0], "bias " + bias.shape().ToString());
  MUSTER_CHECK(options.stride > 0 && image[1] + 2 * options.padding >= kernel[2] &&
                   image[2] + 2 * options.padding >= kernel[3],
               "kernel " + kernel.ToString() + " larger than image " + image.ToString());
  return {.height = image[1],
          .width = image[2],
          .in = image[3],
          .out_height = (image[1] + 2 * options.padding - kernel[2]) / options.stride + 1,
          .out_width = (image[2] + 2 * options.padding - kernel[3]) / options.stride + 1,
          .out = kernel[0],
          .kernel_height = kernel[2],
          .kernel_width = kernel[3],
          .stride = options.stride,
          .padding = options.padding,
          .bias = static_cast<bool>(bias),
          .relu = options.relu,
          .type = x.type()};
}

// The max pool after the convolution; with a window of 1 its output is its input.
PoolShape PoolOf(const ConvolutionShape& shape, std::size_t samples, std::size_t window) {
  MUSTER_CHECK(
      window >= 1 && window <= 16 && shape.out_height >= window && shape.out_width >= window,
      "a pool of " + std::to_string(window) + " after the convolution");
  return {.samples = samples,
          .height = shape.out_height,
          .width = shape.out_width,
          .channels = shape.out,
          .out_height = shape.out_height / window,
          .out_width = shape.out_width / window,
          .kernel = window,
          .stride = window};
}

template <class T>
Tensor Conv2dOf(Tape& tape, Tensor x, Tensor weight, Tensor bias, const ConvolutionShape& shape,
                const PoolShape& pool) {
  float* const packed =
      tape.Scratch<float>({kernels::PackedFloats(shape, ConvolutionPass::kForward)});
  kernels::PackForward(shape, weight.as<T>(), packed);
  Tensor y =
      tape.NewOutput({pool.samples, pool.out_height, pool.out_width, shape.out}, kDTypeOf<T>);
  const T* const from = x.as<T>();
  const T* const added = bias ? bias.as<T>() : nullptr;
  T* const to = y.as<T>();
  auto* const places = pool.kernel == 1 ? nullptr : tape.Scratch<std::uint8_t>(y.shape());
  // Straight to y, or by way of this thread's scratch memory, which stays in its cache.
  ParallelFor(tape.pool(), pool.samples, [&](std::size_t sample) {
    const T* const image = from + sample * shape.image();
    const std::size_t at = sample * pool.output();
    if (places == nullptr) {
      kernels::ConvolutionForward(shape, image, packed, added, to + at);
      return;
    }
    T* const whole = kernels::OneDnn::ThisThread().Scratch<T>(0, shape.output());
    kernels::ConvolutionForward(shape, image, packed, added, whole);
    kernels::MaxPoolForward(pool, whole, to + at, places + at);
  });
  if (tape.Records({x, weight, bias})) {
    tape.Record(y, {x, weight, bias}, Conv2dNode<T>{x, weight, bias, to, places, shape, pool});
  }
  return y;
}

}  // namespace

Tensor Conv2d(Tape& tape, Tensor x, Tensor weight, Tensor bias, const Conv2dOptions& options) {
  const ConvolutionShape shape = ShapeOf(x, weight, bias, options);
  const PoolShape pool = PoolOf(shape, x.shape()[0], options.max_pool);
  // Nothing depends on the parameters then: Backward gives them zeros.
  if (pool.samples == 0) {
    return tape.NewOutput({0, pool.out_height, pool.out_width, shape.out}, x.type());
  }
  return Dispatch(x.type(), [&](auto element) {
    return Conv2dOf<decltype(element)>(tape, x, weight, bias, shape, pool);
  });
}

}  // namespace muster::ops
