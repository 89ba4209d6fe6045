#include "base/status.h"

#include <cerrno>
#include <cstring>

namespace muster {

Status FromErrno(std::string_view what) {
  const int error = errno;
  StatusCode code = StatusCode::kInternal;
  if (error == ENOENT) code = StatusCode::kNotFound;
  if (error == ENAMETOOLONG) code = StatusCode::kInvalidArgument;
  if (error == EACCES || error == EPERM) code = StatusCode::kPermissionDenied;
  if (error == ENOSPC || error == EDQUOT) code = StatusCode::kResourceExhausted;
  return {code, std::string(what) + ": " + std::strerror(error)};
}

}  // namespace muster
