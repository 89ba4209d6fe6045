#include "coordinator/service/join_service.h"

#include "coordinator/service/refusals.h"
#include "wire/grpc_status.h"

namespace muster::coordinator {

grpc::ServerUnaryReactor* JoinService::NewJoinToken(grpc::CallbackServerContext* context,
                                                    const v1::NewJoinTokenRequest* request,
                                                    v1::NewJoinTokenResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<Caller> caller = access_.Check(*context, "NewJoinToken");
  if (!caller.ok()) return Refuse(reactor, caller.status());
  coordinator_.NewJoinToken(request->hours(), [this, reactor, response, caller = *caller](
                                                  const Result<v1::NewJoinTokenResponse>& made) {
    access_.Record(caller, 0, made.status());
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
  coordinator_.Join(*request, [this, reactor, response, peer = context->peer(),
                               worker = request->worker().substr(0, 128)](
                                  const Result<v1::JoinResponse>& joined) {
    access_.RecordOpen("Join", peer, joined.status(), worker);
    if (joined.ok()) *response = *joined;
    reactor->Finish(wire::ToGrpc(joined.status()));
  });
  return reactor;
}

}  // namespace muster::coordinator
