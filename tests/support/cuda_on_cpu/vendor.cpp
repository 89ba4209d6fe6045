// Stands in for cuBLASLt and cuDNN: what tensor/kernels/gemm.cu and convolution.cu have, as sums in
// double.
#include "tensor/cuda/vendor.h"

#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

using kernels::ConvolutionShape;

double At(const Matrix& matrix, DType type, std::size_t i, std::size_t j) {
  const std::size_t at = i * matrix.row_stride + j * matrix.column_stride;
  const float value =
      type == DType::kF32 ? As<float>(matrix.data)[at] : ToFloat(As<BFloat16>(matrix.data)[at]);
  return static_cast<double>(value);
}

template <class T>
void ProductOf(const ProductArgs& args) {
  for (std::size_t i = 0; i < args.rows; ++i) {
    for (std::size_t j = 0; j < args.columns; ++j) {
      T& c = As<T>(args.c)[i * args.c_row_stride + j];
      double sum = args.accumulate ? static_cast<double>(ToFloat(c)) : 0;
      if (args.bias != nullptr) sum += At({args.bias, 0, 1}, args.type, 0, j);
      for (std::size_t k = 0; k < args.inner; ++k) {
        sum += At(args.a, args.type, i, k) * At(args.b, args.type, k, j);
      }
      c = T(static_cast<float>(sum));
    }
  }
}

// body(element of x, of the weights and of y) for all that are multiplied.
template <class Body>
void ForTerms(const ConvolutionShape& s, std::size_t samples, const Body& body) {
  for (std::size_t y_at = 0; y_at < samples * s.output(); ++y_at) {
    const std::size_t out = y_at % s.out, column = y_at / s.out % s.out_width;
    const std::size_t row = y_at / s.out / s.out_width % s.out_height;
    const std::size_t sample = y_at / s.out / s.out_width / s.out_height;
    for (std::size_t k = 0; k < s.kernel_height * s.kernel_width; ++k) {
      const std::size_t y = row * s.stride + k / s.kernel_width;  // Of the padded image.
      const std::size_t x = column * s.stride + k % s.kernel_width;
      if (y < s.padding || x < s.padding) continue;
      if (y - s.padding >= s.height || x - s.padding >= s.width) continue;
      const std::size_t pixel = (sample * s.height + y - s.padding) * s.width + x - s.padding;
      for (std::size_t in = 0; in < s.in; ++in) {
        body(pixel * s.in + in, (out * s.kernel_height * s.kernel_width + k) * s.in + in, y_at);
      }
    }
  }
}

}  // namespace

std::string VendorVersions() { return "no libraries of NVIDIA's"; }

void Product(Stream&, const ProductArgs& args) { MUSTER_BY_TYPE(args.c_type, ProductOf, args); }

void ConvolutionForward(Stream&, const ConvolutionShape& shape, std::size_t samples, const float* x,
                        const float* weight, float* y) {
  for (std::size_t i = 0; i < samples * shape.output(); ++i) y[i] = 0;
  ForTerms(shape, samples, [=](std::size_t x_at, std::size_t w_at, std::size_t y_at) {
    y[y_at] += x[x_at] * weight[w_at];
  });
}

void ConvolutionInputGradient(Stream&, const ConvolutionShape& shape, std::size_t samples,
                              const float* dy, const float* weight, float* dx, bool accumulate) {
  for (std::size_t i = 0; !accumulate && i < samples * shape.image(); ++i) dx[i] = 0;
  ForTerms(shape, samples, [=](std::size_t x_at, std::size_t w_at, std::size_t y_at) {
    dx[x_at] += dy[y_at] * weight[w_at];
  });
}

void ConvolutionWeightGradient(Stream&, const ConvolutionShape& shape, std::size_t samples,
                               const float* x, const float* dy, float* dweight) {
  for (std::size_t i = 0; i < shape.weights(); ++i) dweight[i] = 0;
  ForTerms(shape, samples, [=](std::size_t x_at, std::size_t w_at, std::size_t y_at) {
    dweight[w_at] += x[x_at] * dy[y_at];
  });
}

}  // namespace muster::cuda
