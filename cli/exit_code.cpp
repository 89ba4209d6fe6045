#include "cli/exit_code.h"

#include <iostream>

namespace muster::cli {

int ExitCodeOf(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return kExitOk;
    case StatusCode::kInvalidArgument:
    case StatusCode::kNotFound:
    case StatusCode::kAlreadyExists:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kUnimplemented:
      return kExitUsage;
    case StatusCode::kUnavailable:
    case StatusCode::kDeadlineExceeded:
      return kExitUnreachable;
    case StatusCode::kPermissionDenied:
    case StatusCode::kUnauthenticated:
      return kExitNotAllowed;
    case StatusCode::kCancelled:
      return kExitInterrupted;
    default:
      return kExitInfrastructure;
  }
}

bool HasEnded(const v1::JobInfo& job) {
  return job.state() == v1::JOB_STATE_SUCCEEDED || job.state() == v1::JOB_STATE_FAILED ||
         job.state() == v1::JOB_STATE_CANCELLED;
}

int VerdictOf(const v1::JobInfo& job) {
  switch (job.state()) {
    case v1::JOB_STATE_SUCCEEDED:
      return kExitOk;
    case v1::JOB_STATE_FAILED:
      return job.infrastructure() ? kExitInfrastructure : kExitJobFailed;
    case v1::JOB_STATE_CANCELLED:
      return kExitCancelled;
    default:
      return kExitInfrastructure;
  }
}

int Report(const Status& status) {
  if (!status.ok()) std::cerr << "muster: " << status.message() << std::endl;
  return ExitCodeOf(status);
}

}  // namespace muster::cli
