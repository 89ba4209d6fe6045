#include "coordinator/service/job_service.h"

#include "coordinator/service/checkpoint_streams.h"
#include "coordinator/service/record_streams.h"
#include "coordinator/service/refusals.h"
#include "wire/grpc_status.h"

namespace muster::coordinator {
namespace {

// `muster wait` and every follower: the newest state of one job, older ones skipped.
class WatchStream final : public WriteStream<v1::JobInfo> {
 public:
  WatchStream(Coordinator& coordinator, v1::JobRequest request)
      : coordinator_(coordinator), request_(std::move(request)) {}

 protected:
  void Start() override {
    const std::weak_ptr<WriteStream<v1::JobInfo>> weak = weak_from_this();
    coordinator_.Watch(Claim(request_.job_id()), [weak](Result<v1::JobInfo> info) {
      const auto stream = std::static_pointer_cast<WatchStream>(weak.lock());
      if (stream == nullptr) return false;
      if (!info.ok()) {
        stream->End(info.status());
        return false;
      }
      const bool more = info->state() < v1::JOB_STATE_SUCCEEDED;
      {
        const std::lock_guard lock(stream->mutex_);
        stream->newest_ = std::move(*info);
        stream->fresh_ = true;
      }
      stream->Wake();
      return more;
    });
  }

  Next Produce(v1::JobInfo& message) override {
    const std::lock_guard lock(mutex_);
    if (!fresh_) {
      if (newest_.state() >= v1::JOB_STATE_SUCCEEDED) End({});
      return Next::kWait;
    }
    fresh_ = false;
    message = newest_;
    return Next::kWrite;
  }

 private:
  Coordinator& coordinator_;
  v1::JobRequest request_;
  std::mutex mutex_;  // The two below come from the coordinator's loop.
  v1::JobInfo newest_;
  bool fresh_ = false;
};

}  // namespace

grpc::ServerUnaryReactor* JobService::SubmitJob(grpc::CallbackServerContext* context,
                                                const v1::SubmitJobRequest* request,
                                                v1::SubmitJobResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const RpcTimer timer(coordinator_.metrics(), "SubmitJob");
  const Result<Caller> user = access_.Check(*context, "SubmitJob");
  if (!user.ok()) return Refuse(reactor, user.status());
  coordinator_.Submit(user->name(), *request,
                      [this, caller = *user, reactor, response, timer](const Result<JobId>& job) {
                        if (job.ok()) response->set_job_id(*job);
                        access_.Record(caller, job.ok() ? *job : 0, job.status());
                        timer.Observe();
                        reactor->Finish(wire::ToGrpc(job.status()));
                      });
  return reactor;
}

grpc::ServerUnaryReactor* JobService::ListJobs(grpc::CallbackServerContext* context,
                                               const v1::ListJobsRequest* request,
                                               v1::ListJobsResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const RpcTimer timer(coordinator_.metrics(), "ListJobs");
  const Result<Caller> user = access_.Check(*context, "ListJobs");
  if (!user.ok()) return Refuse(reactor, user.status());
  const std::string only_of = user->reach == Reach::kOwn ? user->name() : "";
  coordinator_.ListJobs(request->all(), only_of,
                        [reactor, response, timer](std::vector<v1::JobInfo> jobs) {
                          for (v1::JobInfo& job : jobs) *response->add_jobs() = std::move(job);
                          timer.Observe();
                          reactor->Finish(grpc::Status::OK);
                        });
  return reactor;
}

grpc::ServerUnaryReactor* JobService::GetJob(grpc::CallbackServerContext* context,
                                             const v1::JobRequest* request,
                                             v1::JobInfo* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const RpcTimer timer(coordinator_.metrics(), "GetJob");
  const Result<Caller> user = access_.Check(*context, "GetJob");
  if (!user.ok()) return Refuse(reactor, user.status());
  coordinator_.GetJob(user->Claim(request->job_id()),
                      [this, caller = *user, id = request->job_id(), reactor, response,
                       timer](Result<v1::JobInfo> job) {
                        access_.Record(caller, id, job.status());
                        if (job.ok()) *response = std::move(*job);
                        timer.Observe();
                        reactor->Finish(wire::ToGrpc(job.status()));
                      });
  return reactor;
}

grpc::ServerUnaryReactor* JobService::CancelJob(grpc::CallbackServerContext* context,
                                                const v1::JobRequest* request,
                                                v1::CancelJobResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const RpcTimer timer(coordinator_.metrics(), "CancelJob");
  const Result<Caller> user = access_.Check(*context, "CancelJob");
  if (!user.ok()) return Refuse(reactor, user.status());
  coordinator_.Cancel(user->Claim(request->job_id()), user->name(),
                      [this, caller = *user, id = request->job_id(), reactor, response,
                       timer](const Result<v1::JobState>& state) {
                        access_.Record(caller, id, state.status());
                        if (state.ok()) response->set_state(*state);
                        timer.Observe();
                        reactor->Finish(wire::ToGrpc(state.status()));
                      });
  return reactor;
}

grpc::ServerUnaryReactor* JobService::ResumeJob(grpc::CallbackServerContext* context,
                                                const v1::ResumeJobRequest* request,
                                                v1::ResumeJobResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const RpcTimer timer(coordinator_.metrics(), "ResumeJob");
  const Result<Caller> user = access_.Check(*context, "ResumeJob");
  if (!user.ok()) return Refuse(reactor, user.status());
  if (!request->allow_new_numerics()) {
    const Status refused = InvalidArgument("allow_new_numerics: nothing else can be resumed");
    access_.Record(*user, request->job_id(), refused);
    return Refuse(reactor, refused);
  }
  coordinator_.AllowNewNumerics(user->Claim(request->job_id()), user->name(),
                                [this, caller = *user, id = request->job_id(), reactor, response,
                                 timer](const Result<v1::JobState>& state) {
                                  access_.Record(caller, id, state.status());
                                  if (state.ok()) response->set_state(*state);
                                  timer.Observe();
                                  reactor->Finish(wire::ToGrpc(state.status()));
                                });
  return reactor;
}

grpc::ServerUnaryReactor* JobService::ListNodes(grpc::CallbackServerContext* context,
                                                const v1::ListNodesRequest* /*request*/,
                                                v1::ListNodesResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<Caller> user = access_.Check(*context, "ListNodes");
  if (!user.ok()) return Refuse(reactor, user.status());
  coordinator_.ListNodes([reactor, response](v1::ListNodesResponse nodes) {
    *response = std::move(nodes);
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

Done<Result<v1::NodeInfo>> JobService::AnswerNode(const Caller& caller, const char* method,
                                                  const std::string& worker,
                                                  grpc::ServerUnaryReactor* reactor,
                                                  v1::NodeInfo* response) {
  return [this, caller, worker, reactor, response,
          timer = RpcTimer(coordinator_.metrics(), method)](Result<v1::NodeInfo> node) {
    access_.Record(caller, 0, node.status(), worker);
    if (node.ok()) *response = std::move(*node);
    timer.Observe();
    reactor->Finish(wire::ToGrpc(node.status()));
  };
}

grpc::ServerUnaryReactor* JobService::DrainWorker(grpc::CallbackServerContext* context,
                                                  const v1::DrainWorkerRequest* request,
                                                  v1::NodeInfo* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<Caller> user = access_.Check(*context, "DrainWorker");
  if (!user.ok()) return Refuse(reactor, user.status());
  coordinator_.DrainWorker(*request, user->name(),
                           AnswerNode(*user, "DrainWorker", request->worker(), reactor, response));
  return reactor;
}

grpc::ServerUnaryReactor* JobService::ResumeWorker(grpc::CallbackServerContext* context,
                                                   const v1::ResumeWorkerRequest* request,
                                                   v1::NodeInfo* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<Caller> user = access_.Check(*context, "ResumeWorker");
  if (!user.ok()) return Refuse(reactor, user.status());
  coordinator_.ResumeWorker(
      *request, AnswerNode(*user, "ResumeWorker", request->worker(), reactor, response));
  return reactor;
}

grpc::ServerUnaryReactor* JobService::Info(grpc::CallbackServerContext* context,
                                           const v1::InfoRequest* /*request*/,
                                           v1::InfoResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<Caller> user = access_.Check(*context, "Info");
  if (!user.ok()) return Refuse(reactor, user.status());
  coordinator_.Info([this, reactor, response, name = user->name()](v1::InfoResponse info) {
    *response = std::move(info);
    response->set_user(name);
    response->set_http_address(http_address_);
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

grpc::ServerWriteReactor<v1::JobInfo>* JobService::WatchJob(
    grpc::CallbackServerContext* context, const v1::JobRequest* request) noexcept {
  const Result<Caller> user = access_.Check(*context, "WatchJob");
  if (!user.ok()) return new RefusedStream<v1::JobInfo>(user.status());
  return WatchStream::Begin<WatchStream>(readers_, access_, *user, coordinator_, *request);
}

grpc::ServerWriteReactor<v1::LogChunk>* JobService::Logs(grpc::CallbackServerContext* context,
                                                         const v1::LogsRequest* request) noexcept {
  const Result<Caller> user = access_.Check(*context, "Logs");
  if (!user.ok()) return new RefusedStream<v1::LogChunk>(user.status());
  return LogStream::Begin<LogStream>(readers_, access_, *user, coordinator_, *request);
}

grpc::ServerWriteReactor<v1::MetricsChunk>* JobService::Metrics(
    grpc::CallbackServerContext* context, const v1::MetricsRequest* request) noexcept {
  const Result<Caller> user = access_.Check(*context, "Metrics");
  if (!user.ok()) return new RefusedStream<v1::MetricsChunk>(user.status());
  return MetricsStream::Begin<MetricsStream>(readers_, access_, *user, coordinator_, *request);
}

grpc::ServerWriteReactor<v1::CheckpointChunk>* JobService::DownloadCheckpoint(
    grpc::CallbackServerContext* context, const v1::DownloadCheckpointRequest* request) noexcept {
  const Result<Caller> user = access_.Check(*context, "DownloadCheckpoint");
  if (!user.ok()) return new RefusedStream<v1::CheckpointChunk>(user.status());
  return DownloadStream::Begin<DownloadStream>(readers_, access_, *user, coordinator_, *request);
}

}  // namespace muster::coordinator
