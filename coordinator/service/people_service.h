// gRPC front for accounts.
#pragma once

#include "coordinator/coordinator.h"
#include "coordinator/service/access.h"
#include "muster/v1/people.grpc.pb.h"

namespace muster::coordinator {

// All references must outlive the server.
class PeopleService final : public v1::PeopleService::CallbackService {
 public:
  PeopleService(Coordinator& coordinator, const Access& access)
      : coordinator_(coordinator), access_(access) {}

  grpc::ServerUnaryReactor* AddUser(grpc::CallbackServerContext* context,
                                    const v1::AddUserRequest* request,
                                    v1::UserInfo* response) noexcept override;
  grpc::ServerUnaryReactor* SetUser(grpc::CallbackServerContext* context,
                                    const v1::SetUserRequest* request,
                                    v1::UserInfo* response) noexcept override;
  grpc::ServerUnaryReactor* ListUsers(grpc::CallbackServerContext* context,
                                      const v1::ListUsersRequest* request,
                                      v1::ListUsersResponse* response) noexcept override;
  grpc::ServerUnaryReactor* AddToken(grpc::CallbackServerContext* context,
                                     const v1::AddTokenRequest* request,
                                     v1::AddTokenResponse* response) noexcept override;
  grpc::ServerUnaryReactor* ListTokens(grpc::CallbackServerContext* context,
                                       const v1::ListTokensRequest* request,
                                       v1::ListTokensResponse* response) noexcept override;
  grpc::ServerUnaryReactor* RevokeToken(grpc::CallbackServerContext* context,
                                        const v1::RevokeTokenRequest* request,
                                        v1::TokenInfo* response) noexcept override;

 private:
  // Lets the caller in, who may be bound to the account `subject`, and has the coordinator answer.
  template <class Request, class Response>
  grpc::ServerUnaryReactor* Serve(grpc::CallbackServerContext* context, const char* method,
                                  const std::string& subject, const Request& request,
                                  Response* response,
                                  void (Coordinator::*call)(const Request&,
                                                            Done<Result<Response>>)) noexcept;

  Coordinator& coordinator_;
  const Access& access_;
};

}  // namespace muster::coordinator
