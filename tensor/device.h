// Where a tensor lives and which stream its kernels run on.
#pragma once

#include "base/status.h"

namespace muster {

class Device {
 public:
  static Device Cpu() { return {}; }
  // kUnimplemented in a CPU-only build, so later code never meets a CUDA device there.
  static Result<Device> Cuda(int ordinal);

  bool is_cuda() const { return ordinal_ >= 0; }
  void* stream() const { return stream_; }  // cudaStream_t; null on the CPU.

 private:
  int ordinal_ = -1;
  void* stream_ = nullptr;
};

}  // namespace muster
