// gRPC front for worker agents.
#pragma once

#include "coordinator/coordinator.h"
#include "coordinator/service/access.h"
#include "muster/v1/agent.grpc.pb.h"

namespace muster::coordinator {

// All references must outlive the server.
class AgentService final : public v1::AgentService::CallbackService {
 public:
  AgentService(Coordinator& coordinator, const Access& access, EventLoop& readers)
      : coordinator_(coordinator), access_(access), readers_(readers) {}

  grpc::ServerBidiReactor<v1::AgentReport, v1::DesiredState>* Attend(
      grpc::CallbackServerContext* context) noexcept override;
  grpc::ServerUnaryReactor* Append(grpc::CallbackServerContext* context,
                                   const v1::AppendRequest* request,
                                   v1::AppendResponse* response) noexcept override;
  grpc::ServerReadReactor<v1::CheckpointChunk>* UploadCheckpoint(
      grpc::CallbackServerContext* context,
      v1::UploadCheckpointResponse* response) noexcept override;
  grpc::ServerWriteReactor<v1::CheckpointChunk>* FetchCheckpoint(
      grpc::CallbackServerContext* context,
      const v1::DownloadCheckpointRequest* request) noexcept override;
  grpc::ServerUnaryReactor* Put(grpc::CallbackServerContext* context, const v1::PutRequest* request,
                                v1::PutResponse* response) noexcept override;
  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const v1::GetRequest* request,
                                v1::GetResponse* response) noexcept override;

 private:
  Coordinator& coordinator_;
  const Access& access_;
  EventLoop& readers_;
};

}  // namespace muster::coordinator
