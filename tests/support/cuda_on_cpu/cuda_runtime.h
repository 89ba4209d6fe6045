// As much of CUDA's runtime as Muster's kernels use, for a compiler without CUDA; stands in for the
// toolkit's header of this name. Kernels run on the CPU, so that their arithmetic, indices and
// barriers are tested where there is no GPU. Slow; tells nothing about speed, memory coalescing or
// races between blocks.
//
// A block's threads are fibers that take turns at barriers and shuffles. A warp goes as far as it
// can before the next one starts, from the first warp on and from the last one by turns, so a
// missing barrier shows as a wrong result. The program ends with a message where threads of a block
// wait at different barriers, or for one that has returned. Memory is all ones, NaN, until
// something is written to it.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace muster::cuda_on_cpu {

// kernel<<<grid, threads>>>(), with `body` the call of the kernel.
void RunKernel(dim3 grid, unsigned threads, const std::function<void()>& body);

void BlockBarrier();
// `bits` of the lane whose number is this one's with `mask` exclusively ored.
std::uint64_t ShuffleXor(std::uint64_t bits, unsigned mask);

}  // namespace muster::cuda_on_cpu

inline void __syncthreads() { muster::cuda_on_cpu::BlockBarrier(); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = muster::cuda_on_cpu::ShuffleXor(bits, static_cast<unsigned>(mask));
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2 };
using cudaStream_t = struct CudaOnCpuStream*;
using cudaMemPool_t = struct CudaOnCpuPool*;
struct cudaDeviceProp {
  char name[256];
};
constexpr unsigned cudaStreamNonBlocking = 1;
constexpr int cudaMemPoolAttrReleaseThreshold = 4, cudaMemcpyDefault = 4;

inline const char* cudaGetErrorString(cudaError_t) { return "out of memory"; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, int, void*) { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, int kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream);
