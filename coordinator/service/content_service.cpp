#include "coordinator/service/content_service.h"

#include "coordinator/service/content_streams.h"
#include "coordinator/service/refusals.h"
#include "wire/grpc_status.h"

namespace muster::coordinator {

grpc::ServerUnaryReactor* ContentService::FindMissing(grpc::CallbackServerContext* context,
                                                      const v1::FindMissingRequest* request,
                                                      v1::FindMissingResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<Caller> caller = access_.Check(*context, "FindMissing");
  if (!caller.ok()) return Refuse(reactor, caller.status());
  Result<v1::FindMissingResponse> missing =
      coordinator_.content().FindMissing(caller->name(), *request);
  if (missing.ok()) *response = std::move(*missing);
  reactor->Finish(wire::ToGrpc(missing.status()));
  return reactor;
}

grpc::ServerReadReactor<v1::PutObjectsChunk>* ContentService::PutObjects(
    grpc::CallbackServerContext* context, v1::PutObjectsResponse* response) noexcept {
  const Result<Caller> caller = access_.Check(*context, "PutObjects");
  if (!caller.ok()) return new RefusedUpload<v1::PutObjectsChunk>(caller.status());
  return new PutStream(
      coordinator_.content(), caller->name(), response,
      [this, caller = *caller](const Status& outcome) { access_.Record(caller, 0, outcome); });
}

grpc::ServerUnaryReactor* ContentService::NameData(grpc::CallbackServerContext* context,
                                                   const v1::NameDataRequest* request,
                                                   v1::DataInfo* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<Caller> caller = access_.Check(*context, "NameData");
  if (!caller.ok()) return Refuse(reactor, caller.status());
  coordinator_.NameData(
      caller->name(), *request,
      [this, reactor, response, caller = *caller](const Result<v1::DataInfo>& data) {
        access_.Record(caller, 0, data.status());
        if (data.ok()) *response = *data;
        reactor->Finish(wire::ToGrpc(data.status()));
      });
  return reactor;
}

grpc::ServerUnaryReactor* ContentService::ListData(grpc::CallbackServerContext* context,
                                                   const v1::ListDataRequest* /*request*/,
                                                   v1::ListDataResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<Caller> caller = access_.Check(*context, "ListData");
  if (!caller.ok()) return Refuse(reactor, caller.status());
  *response = coordinator_.content().List();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* ContentService::RemoveData(
    grpc::CallbackServerContext* context, const v1::RemoveDataRequest* request,
    v1::RemoveDataResponse* /*response*/) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<Caller> caller = access_.Check(*context, "RemoveData");
  if (!caller.ok()) return Refuse(reactor, caller.status());
  std::optional<std::string> only_of;
  if (caller->reach == Reach::kOwn) only_of = caller->name();
  coordinator_.RemoveData(
      only_of, request->name(),
      [this, reactor, caller = *caller, name = request->name()](const Status& status) {
        access_.Record(caller, 0, status, name);
        reactor->Finish(wire::ToGrpc(status));
      });
  return reactor;
}

grpc::ServerWriteReactor<v1::ObjectChunk>* ContentService::Send(
    grpc::CallbackServerContext* context, const char* method, const v1::GetObjectRequest& request) {
  const Result<Caller> caller = access_.Check(*context, method);
  if (!caller.ok()) return new RefusedStream<v1::ObjectChunk>(caller.status());
  return GetStream::Begin<GetStream>(readers_, access_, *caller, coordinator_.content(), request);
}

grpc::ServerWriteReactor<v1::ObjectChunk>* ContentService::GetObject(
    grpc::CallbackServerContext* context, const v1::GetObjectRequest* request) noexcept {
  return Send(context, "GetObject", *request);
}

grpc::ServerWriteReactor<v1::ObjectChunk>* ContentService::FetchObject(
    grpc::CallbackServerContext* context, const v1::GetObjectRequest* request) noexcept {
  return Send(context, "FetchObject", *request);
}

}  // namespace muster::coordinator
