#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"
#include "tensor/cuda/vendor.h"

namespace muster::cuda {

namespace {

using kernels::ConvolutionShape;
using kernels::PoolShape;

// The max pool after the convolution.
PoolShape PoolOf(const ConvolutionShape& s, std::size_t window) {
  return {s.samples, s.out_height, s.out_width, s.out, s.out_height / window, s.out_width / window,
          window,    window};
}

std::size_t WeightElements(const ConvolutionShape& s) {
  return s.out * s.in * s.kernel_height * s.kernel_width;
}

// Weights [out, in, height, width] to cuDNN's [out, height, width, in].
void PackWeights(Stream& stream, const ConvolutionShape& shape, const float* weight,
                 float* packed) {
  const std::size_t in = shape.in, area = shape.kernel_height * shape.kernel_width;
  ForEach(stream, WeightElements(shape), [=] __device__(std::size_t i) {
    const std::size_t channel = i % in, place = i / in % area, out = i / in / area;
    packed[i] = weight[(out * in + channel) * area + place];
  });
}

// And back.
void UnpackGradient(Stream& stream, const ConvolutionShape& shape, const float* packed, float* to,
                    bool accumulate) {
  const std::size_t in = shape.in, area = shape.kernel_height * shape.kernel_width;
  ForEach(stream, WeightElements(shape), [=] __device__(std::size_t i) {
    const std::size_t place = i % area, channel = i / area % in, out = i / area / in;
    Put(to[i], packed[(out * area + place) * in + channel], accumulate);
  });
}

// y = relu(y + bias), each where it is asked for.
void BiasAndRelu(Stream& stream, const ConvolutionShape& shape, const float* bias, float* y) {
  const std::size_t out = shape.out;
  const bool relu = shape.relu;
  if (bias == nullptr && !relu) return;
  ForEach(stream, shape.output_elements(), [=] __device__(std::size_t i) {
    const float value = bias != nullptr ? y[i] + bias[i % out] : y[i];
    y[i] = relu ? kernels::ActivationOf(Activation::kRelu, value) : value;
  });
}

// The gradient of the convolution's output, before relu and pool, and the sums of its channels.
const float* BeforePool(Stream& stream, const Conv2dBackwardArgs& args, const PoolShape& pool) {
  const std::size_t count = pool.samples * pool.output();
  const float* slope = args.dy;
  if (args.shape.relu) {
    auto* const masked = stream.Scratch<float>(count);
    ActivationBackward(stream,
                       {Activation::kRelu, DType::kF32, count, args.y, slope, masked, false});
    slope = masked;
  }
  // Each pooled gradient has one winner, so the sums need only the pooled image.
  if (args.dbias != nullptr) {
    SumRows(stream, {DType::kF32, count / args.shape.out, args.shape.out, slope, args.dbias,
                     args.accumulate_bias});
  }
  if (args.max_pool == 1) return slope;
  auto* const spread = stream.Scratch<float>(args.shape.output_elements());
  MaxPoolBackward(stream, {pool, args.places, slope, spread, false});
  return spread;
}

}  // namespace

void Conv2dForward(Stream& stream, const Conv2dForwardArgs& args) {
  auto* const packed = stream.Scratch<float>(WeightElements(args.shape));
  PackWeights(stream, args.shape, args.weight, packed);
  const bool pooled = args.max_pool > 1;
  float* const image = pooled ? stream.Scratch<float>(args.shape.output_elements()) : args.y;
  ConvolutionForward(stream, args.shape, args.x, packed, image);
  BiasAndRelu(stream, args.shape, args.bias, image);
  if (pooled) {
    MaxPoolForward(stream, {PoolOf(args.shape, args.max_pool), image, args.y, args.places});
  }
}

void Conv2dBackward(Stream& stream, const Conv2dBackwardArgs& args) {
  const ConvolutionShape& shape = args.shape;
  const float* const slope = BeforePool(stream, args, PoolOf(shape, args.max_pool));
  if (args.dx != nullptr) {
    auto* const packed = stream.Scratch<float>(WeightElements(shape));
    PackWeights(stream, shape, args.weight, packed);
    ConvolutionInputGradient(stream, shape, slope, packed, args.dx, args.accumulate_x);
  }
  if (args.dweight == nullptr) return;
  auto* const packed = stream.Scratch<float>(WeightElements(shape));
  ConvolutionWeightGradient(stream, shape, args.x, slope, packed);
  UnpackGradient(stream, shape, packed, args.dweight, args.accumulate_weight);
}

}  // namespace muster::cuda
