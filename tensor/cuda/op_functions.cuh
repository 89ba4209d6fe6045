// The twins, as they call each other and as the table does. Each queues its kernels on the stream;
// they throw CudaError or, for a broken contract, ContractViolation.
#pragma once

#include "tensor/cuda/ops.h"
#include "tensor/cuda/stream.cuh"

namespace muster::cuda {

#define MUSTER_CUDA_DECLARE(name, Args) void name(Stream& stream, const Args& args);
MUSTER_CUDA_OPS(MUSTER_CUDA_DECLARE)
#undef MUSTER_CUDA_DECLARE

}  // namespace muster::cuda
