#include "tensor/device.h"

#include <string>

namespace muster {

Result<Device> Device::Cuda(int ordinal) {
  return Status(StatusCode::kUnimplemented, "CUDA device " + std::to_string(ordinal) +
                                                ": this build of Muster is for CPUs only");
}

}  // namespace muster
