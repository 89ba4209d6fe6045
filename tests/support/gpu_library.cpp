#include "tensor/cuda/library.h"
#include "tests/support/gpu.h"

namespace muster::testing {

Result<const cuda::CudaFunctions*> FunctionsUnderTest() {
  const auto library = cuda::LoadLibrary(MUSTER_CUDA_LIBRARY_PATH);
  if (!library.ok()) return library.status();
  const auto devices = cuda::DeviceCount(**library);
  if (!devices.ok()) return devices.status();
  return library;
}

}  // namespace muster::testing
