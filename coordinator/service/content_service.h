// gRPC front for data.
#pragma once

#include "coordinator/coordinator.h"
#include "coordinator/service/access.h"
#include "muster/v1/content.grpc.pb.h"

namespace muster::coordinator {

// All references must outlive the server.
class ContentService final : public v1::ContentService::CallbackService {
 public:
  ContentService(Coordinator& coordinator, const Access& access, EventLoop& readers)
      : coordinator_(coordinator), access_(access), readers_(readers) {}

  grpc::ServerUnaryReactor* FindMissing(grpc::CallbackServerContext* context,
                                        const v1::FindMissingRequest* request,
                                        v1::FindMissingResponse* response) noexcept override;
  grpc::ServerReadReactor<v1::PutObjectsChunk>* PutObjects(
      grpc::CallbackServerContext* context, v1::PutObjectsResponse* response) noexcept override;
  grpc::ServerUnaryReactor* NameData(grpc::CallbackServerContext* context,
                                     const v1::NameDataRequest* request,
                                     v1::DataInfo* response) noexcept override;
  grpc::ServerUnaryReactor* ListData(grpc::CallbackServerContext* context,
                                     const v1::ListDataRequest* request,
                                     v1::ListDataResponse* response) noexcept override;
  grpc::ServerUnaryReactor* RemoveData(grpc::CallbackServerContext* context,
                                       const v1::RemoveDataRequest* request,
                                       v1::RemoveDataResponse* response) noexcept override;
  grpc::ServerWriteReactor<v1::ObjectChunk>* GetObject(
      grpc::CallbackServerContext* context, const v1::GetObjectRequest* request) noexcept override;
  grpc::ServerWriteReactor<v1::ObjectChunk>* FetchObject(
      grpc::CallbackServerContext* context, const v1::GetObjectRequest* request) noexcept override;

 private:
  grpc::ServerWriteReactor<v1::ObjectChunk>* Send(grpc::CallbackServerContext* context,
                                                  const char* method,
                                                  const v1::GetObjectRequest& request);

  Coordinator& coordinator_;
  const Access& access_;
  EventLoop& readers_;  // Where objects are read, so that they never hold up decisions.
};

}  // namespace muster::coordinator
