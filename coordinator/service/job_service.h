// gRPC front for people: checks who calls, posts, answers. No decision is made here.
#pragma once

#include "coordinator/coordinator.h"
#include "coordinator/service/access.h"
#include "muster/v1/cluster.grpc.pb.h"

namespace muster::coordinator {

// All references must outlive the server.
class JobService final : public v1::JobService::CallbackService {
 public:
  JobService(Coordinator& coordinator, const Access& access, EventLoop& readers,
             std::string http_address)
      : coordinator_(coordinator),
        access_(access),
        readers_(readers),
        http_address_(std::move(http_address)) {}

  grpc::ServerUnaryReactor* SubmitJob(grpc::CallbackServerContext* context,
                                      const v1::SubmitJobRequest* request,
                                      v1::SubmitJobResponse* response) noexcept override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) noexcept override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::JobRequest* request,
                                   v1::JobInfo* response) noexcept override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::JobRequest* request,
                                      v1::CancelJobResponse* response) noexcept override;
  grpc::ServerUnaryReactor* ResumeJob(grpc::CallbackServerContext* context,
                                      const v1::ResumeJobRequest* request,
                                      v1::ResumeJobResponse* response) noexcept override;
  grpc::ServerUnaryReactor* ListNodes(grpc::CallbackServerContext* context,
                                      const v1::ListNodesRequest* request,
                                      v1::ListNodesResponse* response) noexcept override;
  grpc::ServerUnaryReactor* DrainWorker(grpc::CallbackServerContext* context,
                                        const v1::DrainWorkerRequest* request,
                                        v1::NodeInfo* response) noexcept override;
  grpc::ServerUnaryReactor* ResumeWorker(grpc::CallbackServerContext* context,
                                         const v1::ResumeWorkerRequest* request,
                                         v1::NodeInfo* response) noexcept override;
  grpc::ServerUnaryReactor* Info(grpc::CallbackServerContext* context,
                                 const v1::InfoRequest* request,
                                 v1::InfoResponse* response) noexcept override;
  grpc::ServerWriteReactor<v1::JobInfo>* WatchJob(grpc::CallbackServerContext* context,
                                                  const v1::JobRequest* request) noexcept override;
  grpc::ServerWriteReactor<v1::LogChunk>* Logs(grpc::CallbackServerContext* context,
                                               const v1::LogsRequest* request) noexcept override;
  grpc::ServerWriteReactor<v1::MetricsChunk>* Metrics(
      grpc::CallbackServerContext* context, const v1::MetricsRequest* request) noexcept override;
  grpc::ServerWriteReactor<v1::CheckpointChunk>* DownloadCheckpoint(
      grpc::CallbackServerContext* context,
      const v1::DownloadCheckpointRequest* request) noexcept override;

 private:
  // How a call about a worker ends.
  Done<Result<v1::NodeInfo>> AnswerNode(const Caller& caller, const char* method,
                                        const std::string& worker,
                                        grpc::ServerUnaryReactor* reactor, v1::NodeInfo* response);

  Coordinator& coordinator_;
  const Access& access_;
  EventLoop& readers_;  // Where followers are served, so that they never hold up decisions.
  std::string http_address_;
};

}  // namespace muster::coordinator
