// How kernels are started: by whole elements, or by blocks of threads for each row.
//
// No kernel looks at the grid's size, so a result never depends on it. Blocks always have kThreads
// threads, unless a kernel says otherwise.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

#include "base/check.h"
#include "base/host_device.h"
#include "tensor/bfloat16.h"
#include "tensor/cuda/stream.cuh"

namespace muster::cuda {

inline constexpr unsigned kThreads = 256;
inline constexpr unsigned kWarp = 32;
inline constexpr unsigned kWarps = kThreads / kWarp;

// How many blocks of `size` hold `count` things.
inline unsigned BlocksOf(std::size_t count, std::size_t size) {
  const std::size_t blocks = (count + size - 1) / size;
  MUSTER_CHECK(blocks >> 31U == 0, "a grid of " + std::to_string(blocks) + " blocks");
  return static_cast<unsigned>(blocks);
}

// Queues the kernel; a grid without blocks is nothing to do.
template <class... Parameters, class... Arguments>
void Launch(Stream& stream, dim3 grid, unsigned threads, void (*kernel)(Parameters...),
            const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
#ifdef __CUDACC__
  kernel<<<grid, threads, 0, stream.handle()>>>(arguments...);
  Check(cudaGetLastError(), "launch a kernel");
#else  // Tests have a cuda_runtime.h that runs kernels on the CPU.
  static_cast<void>(stream);
  cuda_on_cpu::RunKernel(grid, threads, [&] { kernel(arguments...); });
#endif
}

template <class Body>
__global__ void ForEachKernel(std::size_t count, Body body) {
  const std::size_t i = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) body(i);
}

// body(i) for all i below count, one thread each.
template <class Body>
void ForEach(Stream& stream, std::size_t count, const Body& body) {
  Launch(stream, BlocksOf(count, kThreads), kThreads, ForEachKernel<Body>, count, body);
}

// to = value, or to += value, rounded once.
template <class T>
__device__ inline void Put(T& to, float value, bool accumulate) {
  to = T(accumulate ? ToFloat(to) + value : value);
}

template <class T>
MUSTER_HOST_DEVICE const T* As(const void* data) {
  return static_cast<const T*>(data);
}
template <class T>
MUSTER_HOST_DEVICE T* As(void* data) {
  return static_cast<T*>(data);
}

}  // namespace muster::cuda

// function<float>(arguments) or function<BFloat16>(arguments). (nvcc takes no device lambdas from
// inside a generic lambda, so Dispatch does not serve.)
#define MUSTER_BY_TYPE(type, function, ...)                       \
  ((type) == ::muster::DType::kF32 ? function<float>(__VA_ARGS__) \
                                   : function<::muster::BFloat16>(__VA_ARGS__))
