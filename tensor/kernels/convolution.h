// Convolutions of a few samples on the calling thread, over oneDNN, in f32 or in bf16 with f32
// sums.
//
// Images are NHWC, weights are OIHW for the caller and packed into the layout that the primitive
// wants once per op. Plain NHWC is as fast as oneDNN's blocked layouts on AVX-512 (within 5 %).
// What makes an element of an image is one sample at a time, so that its bits cannot depend on how
// many there are: a primitive for several may add in another order, and is no faster.
// Where oneDNN has no bf16 convolution (without AVX-512) bf16 is widened, and rounded once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/bfloat16.h"

namespace muster::kernels {

struct ConvolutionShape {
  std::size_t height = 0, width = 0, in = 0;
  std::size_t out_height = 0, out_width = 0, out = 0;
  std::size_t kernel_height = 0, kernel_width = 0;
  std::size_t stride = 1;
  std::size_t padding = 0;
  bool bias = false;
  bool relu = false;         // Of the forward pass.
  DType type = DType::kF32;  // Of images, weights and bias.

  // Of one sample.
  std::size_t image() const { return height * width * in; }
  std::size_t output() const { return out_height * out_width * out; }
  std::size_t weights() const { return out * in * kernel_height * kernel_width; }
};

// Samples that one call of ConvolutionWeightGradient takes at most.
inline constexpr std::size_t kWeightGradientSamples = 8;

// How many floats the packed weights of a pass take, padding included.
enum class ConvolutionPass : std::uint8_t { kForward, kInputGradient, kWeightGradient };
std::size_t PackedFloats(const ConvolutionShape& shape, ConvolutionPass pass);

// `weight` [out, in, kernel_height, kernel_width] of the shape's type; `gradient` is f32.
void PackForward(const ConvolutionShape& shape, const void* weight, float* packed);
void PackForInputGradient(const ConvolutionShape& shape, const void* weight, float* packed);
void UnpackWeightGradient(const ConvolutionShape& shape, const float* packed, float* gradient);

// One sample: y = conv(x) + bias, then relu where the shape says so.
void ConvolutionForward(const ConvolutionShape& shape, const void* x, const float* packed,
                        const void* bias, void* y);
// One sample.
void ConvolutionInputGradient(const ConvolutionShape& shape, const void* dy, const float* packed,
                              void* dx);
// The packed weight gradient of `samples`. That of the bias is left to SumRows: oneDNN's costs
// twice as much as the whole product where there are few input channels.
void ConvolutionWeightGradient(const ConvolutionShape& shape, std::size_t samples, const void* x,
                               const void* dy, float* packed);

}  // namespace muster::kernels
