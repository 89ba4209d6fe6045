// What libmuster_cuda.so offers: one table of functions, in plain C++ without CUDA's headers.
//
// The program never links CUDA; tensor/cuda/library.h loads the library where it is needed. Both
// sides are built from this header: the version and the sizes in the table tell a library of
// another build.
//
// Every function returns an Outcome and throws nothing. Work is queued on its stream in order and
// not waited for, unless said otherwise. Pointers in arguments are the device's unless said so.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/cuda/ops.h"

namespace muster::cuda {

// A queue of work on one device, with what vendors' libraries need for it: their handles and
// workspaces, and scratch memory, which grows to what the largest op needs and stays. One thread at
// a time.
class Stream;

struct Outcome {
  std::int32_t code = 0;       // 0: done or queued; else a cudaError_t, or kBrokenContract.
  const char* text = nullptr;  // Says why; valid until the thread's next call.

  bool ok() const { return code == 0; }
};
inline constexpr std::int32_t kOutOfMemory = 2;  // cudaErrorMemoryAllocation.
inline constexpr std::int32_t kBrokenContract = -1;

struct MemoryInfo {
  std::size_t free_bytes = 0, total_bytes = 0;
};

inline constexpr std::int32_t kFunctionTableVersion = 1;  // Raised when a function's sense changes.

// Notices a library that was built from other argument structs.
#define MUSTER_CUDA_SIZE(name, Args) +sizeof(Args)
inline constexpr std::size_t kArgsBytes = 0 MUSTER_CUDA_OPS(MUSTER_CUDA_SIZE);
#undef MUSTER_CUDA_SIZE

struct CudaFunctions {
  std::int32_t version = kFunctionTableVersion;
  std::size_t table_bytes = sizeof(CudaFunctions);
  std::size_t args_bytes = kArgsBytes;

  // 0 devices, and why, is an Outcome: no driver, or no GPU.
  Outcome (*DeviceCount)(std::int32_t* count) noexcept = nullptr;
  // "NVIDIA H200" into `name`, which has room for `bytes`, its end included.
  Outcome (*DeviceName)(std::int32_t device, char* name, std::size_t bytes) noexcept = nullptr;
  Outcome (*DeviceMemory)(std::int32_t device, MemoryInfo* info) noexcept = nullptr;
  // "CUDA 13.0, driver 13.0, cuBLASLt 130000, cuDNN 91200": what results depend on.
  Outcome (*Versions)(char* text, std::size_t bytes) noexcept = nullptr;

  Outcome (*CreateStream)(std::int32_t device, Stream** stream) noexcept = nullptr;
  Outcome (*DestroyStream)(Stream* stream) noexcept = nullptr;  // Waits for its work.
  Outcome (*Synchronize)(Stream* stream) noexcept = nullptr;    // Waits, tells what went wrong.

  // Of the stream's device, 256-byte aligned and uninitialised; kOutOfMemory if there is none left.
  Outcome (*Allocate)(Stream* stream, std::size_t bytes, void** memory) noexcept = nullptr;
  Outcome (*Free)(Stream* stream, void* memory) noexcept = nullptr;
  // Either end may be the host's memory, which must stay until the stream has been waited for.
  Outcome (*Copy)(Stream* stream, void* to, const void* from, std::size_t bytes) noexcept = nullptr;
  Outcome (*FillZero)(Stream* stream, void* memory, std::size_t bytes) noexcept = nullptr;

  // One a direction of each op: the twins of tensor/kernels and nn/optim.
#define MUSTER_CUDA_MEMBER(name, Args) \
  Outcome (*name)(Stream * stream, const Args& args) noexcept = nullptr;
  MUSTER_CUDA_OPS(MUSTER_CUDA_MEMBER)
#undef MUSTER_CUDA_MEMBER
};

// The library's only symbol.
extern "C" [[gnu::visibility("default")]] const CudaFunctions* MusterCudaFunctions();

}  // namespace muster::cuda
