// What a stream of the table is inside the library.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <vector>

#include "base/check.h"

namespace muster::cuda {

// A call of CUDA's that failed; leaves the library as an Outcome with this code.
class CudaError : public std::runtime_error {
 public:
  CudaError(int code, const std::string& text) : std::runtime_error(text), code_(code) {}
  int code() const { return code_; }

 private:
  int code_;
};

inline void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw CudaError(static_cast<int>(error), std::string(what) + ": " + cudaGetErrorString(error));
}

class Stream {
 public:
  explicit Stream(int device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t handle() const { return handle_; }
  int device() const { return device_; }

  // Memory of this op, uninitialised: freed, in the stream's order, when the op has been queued.
  template <class T>
  T* Scratch(std::size_t count) {
    return static_cast<T*>(ScratchBytes(count * sizeof(T)));
  }
  void FreeScratch();

  // What the adapters of cuBLASLt and cuDNN keep here; each makes its own at its first use.
  std::shared_ptr<void>& blas() { return blas_; }
  std::shared_ptr<void>& dnn() { return dnn_; }

 private:
  void* ScratchBytes(std::size_t bytes);

  int device_;
  cudaStream_t handle_ = nullptr;
  std::vector<void*> scratch_;
  std::shared_ptr<void> blas_, dnn_;
};

}  // namespace muster::cuda
