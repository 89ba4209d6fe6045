// gRPC front for workers that join.
#pragma once

#include "coordinator/coordinator.h"
#include "coordinator/service/access.h"
#include "muster/v1/join.grpc.pb.h"

namespace muster::coordinator {

// All references must outlive the server.
class JoinService final : public v1::JoinService::CallbackService {
 public:
  JoinService(Coordinator& coordinator, const Access& access)
      : coordinator_(coordinator), access_(access) {}

  grpc::ServerUnaryReactor* NewJoinToken(grpc::CallbackServerContext* context,
                                         const v1::NewJoinTokenRequest* request,
                                         v1::NewJoinTokenResponse* response) noexcept override;
  grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context,
                                 const v1::JoinRequest* request,
                                 v1::JoinResponse* response) noexcept override;

 private:
  Coordinator& coordinator_;
  const Access& access_;
};

}  // namespace muster::coordinator
