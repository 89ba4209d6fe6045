#include "tests/support/gpu.h"

namespace muster::testing {

Result<const cuda::CudaFunctions*> FunctionsUnderTest() { return cuda::MusterCudaFunctions(); }

}  // namespace muster::testing
