// Convolutions of one block of samples on the calling thread, over oneDNN.
//
// Images are NHWC, weights are OIHW for the caller and packed into the layout that the primitive
// wants once per op. Plain NHWC is as fast as oneDNN's blocked layouts on AVX-512 (within 5 %).
#pragma once

#include <cstddef>

namespace muster::kernels {

struct ConvolutionShape {
  std::size_t samples = 0;  // Of the block.
  std::size_t height = 0, width = 0, in = 0;
  std::size_t out_height = 0, out_width = 0, out = 0;
  std::size_t kernel_height = 0, kernel_width = 0;
  std::size_t stride = 1;
  std::size_t padding = 0;
  bool bias = false;
  bool relu = false;  // Of the forward pass.

  std::size_t input_elements() const { return samples * height * width * in; }
  std::size_t output_elements() const { return samples * out_height * out_width * out; }
};

// Elements of the packed weights of the three passes (padding included).
struct PackedSizes {
  std::size_t forward = 0, input_gradient = 0, weight_gradient = 0;
};
PackedSizes SizesOfPackedWeights(const ConvolutionShape& shape);

void PackForward(const ConvolutionShape& shape, const float* weight, float* packed);
void PackForInputGradient(const ConvolutionShape& shape, const float* weight, float* packed);
void UnpackWeightGradient(const ConvolutionShape& shape, const float* packed, float* gradient);

// y = conv(x) + bias, then relu where the shape says so.
void ConvolutionForward(const ConvolutionShape& shape, const float* x, const float* packed,
                        const float* bias, float* y);
void ConvolutionInputGradient(const ConvolutionShape& shape, const float* dy, const float* packed,
                              float* dx);
// The block's packed weight gradient. That of the bias is left to SumRows: oneDNN's costs twice as
// much as the whole product where there are few input channels.
void ConvolutionWeightGradient(const ConvolutionShape& shape, const float* x, const float* dy,
                               float* packed);

}  // namespace muster::kernels
