// Status <-> grpc::Status. The codes are equal by construction.
#pragma once

#include <grpcpp/support/status.h>

#include "base/status.h"

namespace muster::wire {

static_assert(static_cast<int>(StatusCode::kUnavailable) == grpc::StatusCode::UNAVAILABLE);
static_assert(static_cast<int>(StatusCode::kAborted) == grpc::StatusCode::ABORTED);
static_assert(static_cast<int>(StatusCode::kUnauthenticated) == grpc::StatusCode::UNAUTHENTICATED);

inline grpc::Status ToGrpc(const Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), status.message()};
}

inline Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return {};
  return {static_cast<StatusCode>(status.error_code()), status.error_message()};
}

}  // namespace muster::wire
