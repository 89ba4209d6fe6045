#include "coordinator/service/people_service.h"

#include "coordinator/service/refusals.h"
#include "wire/grpc_status.h"

namespace muster::coordinator {

template <class Request, class Response>
grpc::ServerUnaryReactor* PeopleService::Serve(
    grpc::CallbackServerContext* context, const char* method, const std::string& subject,
    const Request& request, Response* response,
    void (Coordinator::*call)(const Request&, Done<Result<Response>>)) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const RpcTimer timer(coordinator_.metrics(), method);
  const Result<Caller> caller = access_.Check(*context, method);
  if (!caller.ok()) return Refuse(reactor, caller.status());
  const auto finish = [this, reactor, timer, caller = *caller, subject](const Status& status) {
    access_.Record(caller, 0, status, subject);
    timer.Observe();
    reactor->Finish(wire::ToGrpc(status));
  };
  if (caller->reach == Reach::kOwn && subject != caller->name()) {
    finish({StatusCode::kPermissionDenied, caller->name() + " (" + NameOf(caller->who.role) +
                                               ") may call " + method + " for own tokens only"});
    return reactor;
  }
  (coordinator_.*call)(request, [response, finish](Result<Response> answer) {
    const Status status = answer.status();
    if (answer.ok()) *response = std::move(*answer);
    finish(status);
  });
  return reactor;
}

grpc::ServerUnaryReactor* PeopleService::AddUser(grpc::CallbackServerContext* context,
                                                 const v1::AddUserRequest* request,
                                                 v1::UserInfo* response) noexcept {
  return Serve(context, "AddUser", request->name(), *request, response, &Coordinator::AddUser);
}

grpc::ServerUnaryReactor* PeopleService::SetUser(grpc::CallbackServerContext* context,
                                                 const v1::SetUserRequest* request,
                                                 v1::UserInfo* response) noexcept {
  return Serve(context, "SetUser", request->name(), *request, response, &Coordinator::SetUser);
}

grpc::ServerUnaryReactor* PeopleService::ListUsers(grpc::CallbackServerContext* context,
                                                   const v1::ListUsersRequest* request,
                                                   v1::ListUsersResponse* response) noexcept {
  return Serve(context, "ListUsers", "", *request, response, &Coordinator::ListUsers);
}

grpc::ServerUnaryReactor* PeopleService::AddToken(grpc::CallbackServerContext* context,
                                                  const v1::AddTokenRequest* request,
                                                  v1::AddTokenResponse* response) noexcept {
  return Serve(context, "AddToken", request->user(), *request, response, &Coordinator::AddToken);
}

grpc::ServerUnaryReactor* PeopleService::ListTokens(grpc::CallbackServerContext* context,
                                                    const v1::ListTokensRequest* request,
                                                    v1::ListTokensResponse* response) noexcept {
  return Serve(context, "ListTokens", request->user(), *request, response,
               &Coordinator::ListTokens);
}

grpc::ServerUnaryReactor* PeopleService::RevokeToken(grpc::CallbackServerContext* context,
                                                     const v1::RevokeTokenRequest* request,
                                                     v1::TokenInfo* response) noexcept {
  return Serve(context, "RevokeToken", request->user(), *request, response,
               &Coordinator::RevokeToken);
}

}  // namespace muster::coordinator
