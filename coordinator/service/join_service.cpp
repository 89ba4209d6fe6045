#include "coordinator/service/join_service.h"

#include "coordinator/service/refusals.h"
#include "wire/grpc_status.h"

namespace muster::coordinator {

grpc::ServerUnaryReactor* JoinService::NewJoinToken(grpc::CallbackServerContext* context,
                                                    const v1::NewJoinTokenRequest* request,
                                                    v1::NewJoinTokenResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<std::string> user = access_.Check(*context, "NewJoinToken");
  if (!user.ok()) return Refuse(reactor, user.status());
  coordinator_.NewJoinToken(request->hours(),
                            [reactor, response](const Result<v1::NewJoinTokenResponse>& made) {
                              if (made.ok()) *response = *made;
                              reactor->Finish(wire::ToGrpc(made.status()));
                            });
  return reactor;
}

// The token in the request is the proof; Access has a rule for everybody.
grpc::ServerUnaryReactor* JoinService::Join(grpc::CallbackServerContext* context,
                                            const v1::JoinRequest* request,
                                            v1::JoinResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  coordinator_.Join(*request, [reactor, response](const Result<v1::JoinResponse>& joined) {
    if (joined.ok()) *response = *joined;
    reactor->Finish(wire::ToGrpc(joined.status()));
  });
  return reactor;
}

}  // namespace muster::coordinator
