// Convolutions by cuDNN, with the first of its heuristic's algorithms that is deterministic, in f32
// proper (no TF32). Nothing is timed; the choice follows from the shape and the versions.
#include <cublasLt.h>
#include <cudnn.h>

#include <array>
#include <string>

#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/stream.cuh"
#include "tensor/cuda/vendor.h"

namespace muster::cuda {

namespace {

using kernels::ConvolutionShape;

constexpr int kChoices = 10;

void Check(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw CudaError(static_cast<int>(status), std::string(what) + ": " + cudnnGetErrorString(status));
}

std::shared_ptr<void> MakeDnn(cudaStream_t stream) {
  cudnnHandle_t handle = nullptr;
  Check(cudnnCreate(&handle), "start cuDNN");
  std::shared_ptr<void> owner(handle,
                              [](void* end) { cudnnDestroy(static_cast<cudnnHandle_t>(end)); });
  Check(cudnnSetStream(handle, stream), "give cuDNN its stream");
  return owner;
}

cudnnHandle_t DnnOf(Stream& stream) {
  if (stream.dnn() == nullptr) stream.dnn() = MakeDnn(stream.handle());
  return static_cast<cudnnHandle_t>(stream.dnn().get());
}

// A descriptor of cuDNN's with its end.
template <class Handle, cudnnStatus_t (*kCreate)(Handle*), cudnnStatus_t (*kDestroy)(Handle)>
class Descriptor {
 public:
  Descriptor() { Check(kCreate(&handle_), "make a descriptor"); }
  ~Descriptor() { kDestroy(handle_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

struct Descriptors {
  Descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor> x,
      y;
  Descriptor<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>
      weight;
  Descriptor<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor,
             cudnnDestroyConvolutionDescriptor>
      convolution;

  Descriptors(const ConvolutionShape& s, std::size_t samples) {
    const auto size = [](std::size_t value) { return static_cast<int>(value); };
    Check(cudnnSetTensor4dDescriptor(x.get(), CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, size(samples),
                                     size(s.in), size(s.height), size(s.width)),
          "describe the images");
    Check(cudnnSetTensor4dDescriptor(y.get(), CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, size(samples),
                                     size(s.out), size(s.out_height), size(s.out_width)),
          "describe the output");
    Check(cudnnSetFilter4dDescriptor(weight.get(), CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, size(s.out),
                                     size(s.in), size(s.kernel_height), size(s.kernel_width)),
          "describe the weights");
    Check(cudnnSetConvolution2dDescriptor(convolution.get(), size(s.padding), size(s.padding),
                                          size(s.stride), size(s.stride), 1, 1,
                                          CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
          "describe the convolution");
    Check(cudnnSetConvolutionMathType(convolution.get(), CUDNN_FMA_MATH), "ask for f32");
  }
};

// Of those that cuDNN names, best first: one whose bits are the same every time. `is_named` refuses
// those that its documentation calls indeterministic as well.
template <class Performance, class IsNamed>
const Performance& FirstDeterministic(const std::array<Performance, kChoices>& choices, int count,
                                      const char* what, const IsNamed& is_named) {
  for (int i = 0; i < count; ++i) {
    const Performance& choice = choices[static_cast<std::size_t>(i)];
    const bool in_f32 = choice.mathType == CUDNN_FMA_MATH || choice.mathType == CUDNN_DEFAULT_MATH;
    if (choice.status == CUDNN_STATUS_SUCCESS && choice.determinism == CUDNN_DETERMINISTIC &&
        in_f32 && !is_named(choice.algo)) {
      return choice;
    }
  }
  throw CudaError(static_cast<int>(CUDNN_STATUS_NOT_SUPPORTED),
                  std::string("cuDNN has no deterministic algorithm for ") + what);
}

}  // namespace

std::string VendorVersions() {
  return "cuBLASLt " + std::to_string(cublasLtGetVersion()) + ", cuDNN " +
         std::to_string(cudnnGetVersion());
}

void ConvolutionForward(Stream& stream, const ConvolutionShape& shape, std::size_t samples,
                        const float* x, const float* weight, float* y) {
  const Descriptors d(shape, samples);
  cudnnHandle_t const dnn = DnnOf(stream);
  std::array<cudnnConvolutionFwdAlgoPerf_t, kChoices> choices{};
  int count = 0;
  Check(cudnnGetConvolutionForwardAlgorithm_v7(dnn, d.x.get(), d.weight.get(), d.convolution.get(),
                                               d.y.get(), kChoices, &count, choices.data()),
        "find an algorithm for a convolution");
  const auto& best =
      FirstDeterministic(choices, count, "a convolution", [](auto) { return false; });
  const float one = 1, zero = 0;
  Check(cudnnConvolutionForward(
            dnn, &one, d.x.get(), x, d.weight.get(), weight, d.convolution.get(), best.algo,
            stream.Scratch<std::byte>(best.memory), best.memory, &zero, d.y.get(), y),
        "queue a convolution");
}

void ConvolutionInputGradient(Stream& stream, const ConvolutionShape& shape, std::size_t samples,
                              const float* dy, const float* weight, float* dx, bool accumulate) {
  const Descriptors d(shape, samples);
  cudnnHandle_t const dnn = DnnOf(stream);
  std::array<cudnnConvolutionBwdDataAlgoPerf_t, kChoices> choices{};
  int count = 0;
  Check(cudnnGetConvolutionBackwardDataAlgorithm_v7(dnn, d.weight.get(), d.y.get(),
                                                    d.convolution.get(), d.x.get(), kChoices,
                                                    &count, choices.data()),
        "find an algorithm for an input's gradient");
  const auto& best = FirstDeterministic(choices, count, "an input's gradient", [](auto algorithm) {
    return algorithm == CUDNN_CONVOLUTION_BWD_DATA_ALGO_0;
  });
  const float one = 1, beta = accumulate ? 1 : 0;
  Check(cudnnConvolutionBackwardData(
            dnn, &one, d.weight.get(), weight, d.y.get(), dy, d.convolution.get(), best.algo,
            stream.Scratch<std::byte>(best.memory), best.memory, &beta, d.x.get(), dx),
        "queue an input's gradient");
}

void ConvolutionWeightGradient(Stream& stream, const ConvolutionShape& shape, std::size_t samples,
                               const float* x, const float* dy, float* dweight) {
  const Descriptors d(shape, samples);
  cudnnHandle_t const dnn = DnnOf(stream);
  std::array<cudnnConvolutionBwdFilterAlgoPerf_t, kChoices> choices{};
  int count = 0;
  Check(cudnnGetConvolutionBackwardFilterAlgorithm_v7(dnn, d.x.get(), d.y.get(),
                                                      d.convolution.get(), d.weight.get(), kChoices,
                                                      &count, choices.data()),
        "find an algorithm for the weights' gradient");
  const auto& best =
      FirstDeterministic(choices, count, "the weights' gradient", [](auto algorithm) {
        return algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 ||
               algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3;
      });
  const float one = 1, zero = 0;
  Check(cudnnConvolutionBackwardFilter(dnn, &one, d.x.get(), x, d.y.get(), dy, d.convolution.get(),
                                       best.algo, stream.Scratch<std::byte>(best.memory),
                                       best.memory, &zero, d.weight.get(), dweight),
        "queue the weights' gradient");
}

}  // namespace muster::cuda
