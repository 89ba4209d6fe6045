#include "coordinator/service/agent_service.h"

#include <optional>

#include "coordinator/service/checkpoint_streams.h"
#include "coordinator/service/refusals.h"
#include "wire/grpc_status.h"

namespace muster::coordinator {
namespace {

// One connected agent. Owns itself until gRPC is done; the coordinator holds it as an AgentLink.
class AttendStream final : public grpc::ServerBidiReactor<v1::AgentReport, v1::DesiredState>,
                           public AgentLink,
                           public std::enable_shared_from_this<AttendStream> {
 public:
  // A worker with a certificate speaks for itself alone.
  static AttendStream* Begin(Coordinator& coordinator, std::string certified) {
    std::shared_ptr<AttendStream> stream(new AttendStream(coordinator, std::move(certified)));
    stream->self_ = stream;
    stream->StartRead(&stream->report_);
    return stream.get();
  }

  void Send(v1::DesiredState state) override {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    if (writing_) {
      waiting_ = std::move(state);
      return;
    }
    writing_ = true;
    state_ = std::move(state);
    StartWrite(&state_);
  }

  void Close(Status why) override {
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return;
      ended_ = true;
    }
    Finish(wire::ToGrpc(why));
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Close({});
    if (!certified_.empty() && report_.worker() != certified_) {
      return Close({StatusCode::kPermissionDenied, "the certificate is worker " + certified_ +
                                                       "'s, the report worker " + report_.worker() +
                                                       "'s"});
    }
    coordinator_.OnReport(shared_from_this(), std::move(report_));
    report_.Clear();
    StartRead(&report_);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return Close({});
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (ended_ || !waiting_.has_value()) return;
    writing_ = true;
    state_ = std::move(*waiting_);
    waiting_.reset();
    StartWrite(&state_);
  }

  void OnCancel() override { Close(Status(StatusCode::kCancelled, "the agent has gone")); }

  void OnDone() override {
    coordinator_.OnLinkClosed(shared_from_this());
    self_.reset();
  }

 private:
  AttendStream(Coordinator& coordinator, std::string certified)
      : coordinator_(coordinator), certified_(std::move(certified)) {}

  Coordinator& coordinator_;
  const std::string certified_;
  std::shared_ptr<AttendStream> self_;
  v1::AgentReport report_;
  std::mutex mutex_;
  bool ended_ = false;
  bool writing_ = false;
  v1::DesiredState state_;
  std::optional<v1::DesiredState> waiting_;  // The newest one only: each holds everything.
};

}  // namespace

grpc::ServerBidiReactor<v1::AgentReport, v1::DesiredState>* AgentService::Attend(
    grpc::CallbackServerContext* context) noexcept {
  const Result<Caller> caller = access_.Check(*context, "Attend");
  if (!caller.ok()) return new RefusedBidi<v1::AgentReport, v1::DesiredState>(caller.status());
  return AttendStream::Begin(coordinator_, caller->worker);
}

grpc::ServerUnaryReactor* AgentService::Append(grpc::CallbackServerContext* context,
                                               const v1::AppendRequest* request,
                                               v1::AppendResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const RpcTimer timer(coordinator_.metrics(), "Append");
  const Result<Caller> caller = access_.Check(*context, "Append");
  if (!caller.ok()) return Refuse(reactor, caller.status());
  coordinator_.Append(caller->worker, *request,
                      [reactor, response, timer](const Result<std::uint64_t>& stored) {
                        if (stored.ok()) response->set_size(*stored);
                        timer.Observe();
                        reactor->Finish(wire::ToGrpc(stored.status()));
                      });
  return reactor;
}

grpc::ServerReadReactor<v1::CheckpointChunk>* AgentService::UploadCheckpoint(
    grpc::CallbackServerContext* context, v1::UploadCheckpointResponse* /*response*/) noexcept {
  const Result<Caller> caller = access_.Check(*context, "UploadCheckpoint");
  if (!caller.ok()) return new RefusedUpload<v1::CheckpointChunk>(caller.status());
  return UploadStream::Begin(coordinator_, caller->worker);
}

grpc::ServerWriteReactor<v1::CheckpointChunk>* AgentService::FetchCheckpoint(
    grpc::CallbackServerContext* context, const v1::DownloadCheckpointRequest* request) noexcept {
  const Result<Caller> caller = access_.Check(*context, "FetchCheckpoint");
  if (!caller.ok()) return new RefusedStream<v1::CheckpointChunk>(caller.status());
  return DownloadStream::Begin<DownloadStream>(readers_, access_, *caller, coordinator_, *request);
}

grpc::ServerUnaryReactor* AgentService::Put(grpc::CallbackServerContext* context,
                                            const v1::PutRequest* request,
                                            v1::PutResponse* /*response*/) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<Caller> caller = access_.Check(*context, "Put");
  if (!caller.ok()) return Refuse(reactor, caller.status());
  coordinator_.Put(caller->worker, *request,
                   [reactor](const Status& status) { reactor->Finish(wire::ToGrpc(status)); });
  return reactor;
}

grpc::ServerUnaryReactor* AgentService::Get(grpc::CallbackServerContext* context,
                                            const v1::GetRequest* request,
                                            v1::GetResponse* response) noexcept {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Result<Caller> caller = access_.Check(*context, "Get");
  if (!caller.ok()) return Refuse(reactor, caller.status());
  coordinator_.Get(caller->worker, *request, [reactor, response](const Result<std::string>& value) {
    if (value.ok()) response->set_value(*value);
    reactor->Finish(wire::ToGrpc(value.status()));
  });
  return reactor;
}

}  // namespace muster::coordinator
