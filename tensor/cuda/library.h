// Loads libmuster_cuda.so where it is needed: ranks and commands that compute. The program itself
// links nothing of CUDA and starts on machines without it.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "tensor/cuda/function_table.h"

namespace muster::cuda {

// The library's functions, loaded at the first call and kept; thread-safe. It is looked for at
// $MUSTER_CUDA_LIBRARY if that is set, otherwise beside the running program. Errors say what to do:
// kNotFound (no such file: a build for CPUs), kFailedPrecondition (one of CUDA's own libraries is
// missing, or another build's library).
Result<const CudaFunctions*> Library();

// The same from this file, loaded anew.
Result<const CudaFunctions*> LoadLibrary(const std::string& path);

// Whether a table is of this build; `path` is for the message.
Status CheckTable(const CudaFunctions& table, const std::string& path);

// How many GPUs there are, at least 1. kFailedPrecondition if there is no driver, or one that is
// too old; kNotFound if there is no GPU.
Result<std::int32_t> DeviceCount(const CudaFunctions& functions);

}  // namespace muster::cuda
