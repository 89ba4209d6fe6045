// What comes from NVIDIA's libraries: one adapter each. (Products are an op of the table.)
#pragma once

#include <string>

#include "tensor/kernels/convolution.h"

namespace muster::cuda {

class Stream;

// "cuBLASLt 130000, cuDNN 91200".
std::string VendorVersions();

// Convolutions of all `samples` at once, NHWC, f32, without bias; weights here are [out, kernel_h,
// kernel_w, in]. The algorithm follows from the shape alone and gives the same bits every time.
void ConvolutionForward(Stream& stream, const kernels::ConvolutionShape& shape, std::size_t samples,
                        const float* x, const float* weight, float* y);
void ConvolutionInputGradient(Stream& stream, const kernels::ConvolutionShape& shape,
                              std::size_t samples, const float* dy, const float* weight, float* dx,
                              bool accumulate);
void ConvolutionWeightGradient(Stream& stream, const kernels::ConvolutionShape& shape,
                               std::size_t samples, const float* x, const float* dy,
                               float* dweight);

}  // namespace muster::cuda
