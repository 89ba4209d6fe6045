#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"
#include "tensor/cuda/vendor.h"

namespace muster::cuda {

namespace {

using kernels::ConvolutionShape;
using kernels::PoolShape;

// The max pool after the convolution.
PoolShape PoolOf(const ConvolutionShape& s, std::size_t samples, std::size_t window) {
  PoolShape pool;
  pool.samples = samples;
  pool.height = s.out_height;
  pool.width = s.out_width;
  pool.channels = s.out;
  pool.out_height = s.out_height / window;
  pool.out_width = s.out_width / window;
  pool.kernel = pool.stride = window;
  return pool;
}

// The values in f32: themselves, or a widened copy.
const float* InF32(Stream& stream, DType type, const void* values, std::size_t count) {
  if (type == DType::kF32 || values == nullptr) return As<float>(values);
  auto* const wide = stream.Scratch<float>(count);
  Cast(stream, {type, DType::kF32, count, values, wide, false});
  return wide;
}

// Weights [out, in, height, width] to cuDNN's [out, height, width, in], in f32.
const float* PackedWeights(Stream& stream, const ConvolutionShape& shape, const void* weight) {
  const float* const from = InF32(stream, shape.type, weight, shape.weights());
  auto* const packed = stream.Scratch<float>(shape.weights());
  const std::size_t in = shape.in, area = shape.kernel_height * shape.kernel_width;
  ForEach(stream, shape.weights(), [=] __device__(std::size_t i) {
    const std::size_t channel = i % in, place = i / in % area, out = i / in / area;
    packed[i] = from[(out * in + channel) * area + place];
  });
  return packed;
}

// And back.
void UnpackGradient(Stream& stream, const ConvolutionShape& shape, const float* packed, float* to,
                    bool accumulate) {
  const std::size_t in = shape.in, area = shape.kernel_height * shape.kernel_width;
  ForEach(stream, shape.weights(), [=] __device__(std::size_t i) {
    const std::size_t place = i % area, channel = i / area % in, out = i / area / in;
    Put(to[i], packed[(out * area + place) * in + channel], accumulate);
  });
}

// y = relu(sums + bias), each where it is asked for, rounded once; y may be sums.
template <class T>
void BiasAndRelu(Stream& stream, const Conv2dForwardArgs& args, const float* sums, void* y) {
  const std::size_t out = args.shape.out;
  const bool relu = args.shape.relu;
  const T* const bias = As<T>(args.bias);
  T* const to = As<T>(y);
  ForEach(stream, args.samples * args.shape.output(), [=] __device__(std::size_t i) {
    const float value = bias != nullptr ? sums[i] + ToFloat(bias[i % out]) : sums[i];
    to[i] = T(relu ? kernels::ActivationOf(Activation::kRelu, value) : value);
  });
}

// The gradient of the convolution's output, before relu and pool, and the sums of its channels.
const float* BeforePool(Stream& stream, const Conv2dBackwardArgs& args, const PoolShape& pool) {
  const DType type = args.shape.type;
  const std::size_t count = pool.samples * pool.output();
  const void* slope = args.dy;
  if (args.shape.relu) {
    void* const masked = stream.Scratch<std::byte>(count * SizeOf(type));
    ActivationBackward(stream, {Activation::kRelu, type, count, args.y, slope, masked, false});
    slope = masked;
  }
  // Each pooled gradient has one winner, so the sums need only the pooled image.
  if (args.dbias != nullptr) {
    SumRows(stream, {type, count / args.shape.out, args.shape.out, slope, args.dbias,
                     args.accumulate_bias});
  }
  const float* const wide = InF32(stream, type, slope, count);
  if (args.max_pool == 1) return wide;
  auto* const spread = stream.Scratch<float>(args.samples * args.shape.output());
  MaxPoolBackward(stream, {pool, DType::kF32, args.places, wide, spread, false});
  return spread;
}

}  // namespace

void Conv2dForward(Stream& stream, const Conv2dForwardArgs& args) {
  const ConvolutionShape& shape = args.shape;
  const DType type = shape.type;
  const std::size_t count = args.samples * shape.output();
  const bool pooled = args.max_pool > 1;
  // Sums go straight to y where they are of its type and size.
  float* const sums =
      pooled || type != DType::kF32 ? stream.Scratch<float>(count) : As<float>(args.y);
  void* const image = pooled ? stream.Scratch<std::byte>(count * SizeOf(type)) : args.y;
  ConvolutionForward(stream, shape, args.samples,
                     InF32(stream, type, args.x, args.samples * shape.image()),
                     PackedWeights(stream, shape, args.weight), sums);
  MUSTER_BY_TYPE(type, BiasAndRelu, stream, args, sums, image);
  if (!pooled) return;
  const PoolShape pool = PoolOf(shape, args.samples, args.max_pool);
  MaxPoolForward(stream, {pool, type, image, args.y, args.places});
}

void Conv2dBackward(Stream& stream, const Conv2dBackwardArgs& args) {
  const ConvolutionShape& shape = args.shape;
  const std::size_t inputs = args.samples * shape.image();
  const float* const slope = BeforePool(stream, args, PoolOf(shape, args.samples, args.max_pool));
  if (args.dx != nullptr) {
    const bool narrow = shape.type != DType::kF32;
    float* const dx = narrow ? stream.Scratch<float>(inputs) : As<float>(args.dx);
    ConvolutionInputGradient(stream, shape, args.samples, slope,
                             PackedWeights(stream, shape, args.weight), dx,
                             !narrow && args.accumulate_x);
    if (narrow) Cast(stream, {DType::kF32, shape.type, inputs, dx, args.dx, args.accumulate_x});
  }
  if (args.dweight == nullptr) return;
  auto* const packed = stream.Scratch<float>(shape.weights());
  ConvolutionWeightGradient(stream, shape, args.samples, InF32(stream, shape.type, args.x, inputs),
                            slope, packed);
  UnpackGradient(stream, shape, packed, args.dweight, args.accumulate_weight);
}

}  // namespace muster::cuda
