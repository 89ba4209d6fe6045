#include "worker/agent/rank_server.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/file.h"
#include "wire/grpc_status.h"
#include "worker/agent/checkpoint_transfer.h"
#include "worker/agent/log.h"

namespace muster::agent {

class RankServer::Service final : public v1::RankService::Service {
 public:
  Service(CoordinatorLink& link, SpoolForwarder& spool, OnBeat on_beat)
      : link_(link), spool_(spool), on_beat_(std::move(on_beat)) {}

  grpc::Status Beat(grpc::ServerContext*, const v1::BeatRequest* request,
                    v1::BeatResponse* response) override {
    response->set_stop_requested(on_beat_(*request));
    response->set_coordinator_silence_ms(link_.SinceAnswered().count());
    return grpc::Status::OK;
  }

  grpc::Status Publish(grpc::ServerContext* context, const v1::PublishRequest* request,
                       v1::PublishResponse*) override {
    const Status published = PublishWithRetries(*context, *request);
    std::error_code ignored;
    std::filesystem::remove_all(request->directory(), ignored);
    if (!published.ok()) {
      Log("checkpoint of job " + std::to_string(request->job_id()) + " step " +
          std::to_string(request->step()) + " is not accepted: " + published.message());
    }
    return wire::ToGrpc(published);
  }

  grpc::Status Put(grpc::ServerContext* context, const v1::PutRequest* request,
                   v1::PutResponse* response) override {
    return wire::ToGrpc(WhileAway(*context, Clock::time_point::max(), [&](auto deadline) {
      return link_.Call(&CoordinatorLink::Stub::Put, true, *request, *response, deadline);
    }));
  }

  grpc::Status Get(grpc::ServerContext* context, const v1::GetRequest* request,
                   v1::GetResponse* response) override {
    const Clock::time_point end = Clock::now() + std::chrono::milliseconds(request->timeout_ms());
    v1::GetRequest part = *request;
    return wire::ToGrpc(WhileAway(*context, end, [&](std::chrono::milliseconds deadline) {
      // The coordinator's own limit comes first, so that an answer tells that it is there.
      part.set_timeout_ms(static_cast<std::uint32_t>(deadline.count()));
      return link_.Call(&CoordinatorLink::Stub::Get, true, part, *response,
                        deadline + std::chrono::seconds(1));
    }));
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Calls until the coordinator is there to answer, `end` has come or the rank is gone.
  template <class Call>
  Status WhileAway(grpc::ServerContext& context, Clock::time_point end, const Call& call) {
    constexpr std::chrono::milliseconds kCallMax(5'000);
    while (true) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
      Status status = call(std::clamp(left, std::chrono::milliseconds(1), kCallMax));
      if (status.ok() || !CoordinatorLink::IsAway(status.code())) return status;
      if (Clock::now() >= end || context.IsCancelled()) return status;
      if (!link_.Pause(std::chrono::milliseconds(50))) return status;
    }
  }

  Status PublishWithRetries(grpc::ServerContext& context, const v1::PublishRequest& request) {
    const auto cancelled = [&context, this] { return context.IsCancelled() || link_.stopped(); };
    // The job's metrics of one attempt are written by its rank 0, which alone publishes.
    const RankKey key = {request.job_id(), request.attempt(), 0};
    bool ask_again = false;
    int misses = 0;
    while (true) {
      MUSTER_RETURN_IF_ERROR(
          spool_.WaitForMetrics(key, request.metrics_bytes(), ask_again, cancelled));
      Status status = UploadCheckpoint(link_, request, cancelled);
      if (status.ok()) return status;
      if (cancelled()) return {StatusCode::kCancelled, "the upload was cut short"};
      // A coordinator that was killed may know fewer metrics than it had acknowledged.
      constexpr int kMissesMax = 20;
      ask_again = status.code() == StatusCode::kFailedPrecondition;
      if (ask_again ? ++misses > kMissesMax : !CoordinatorLink::IsAway(status.code())) {
        return status;
      }
      if (!link_.Pause(std::chrono::milliseconds(100))) return status;
    }
  }

  CoordinatorLink& link_;
  SpoolForwarder& spool_;
  const OnBeat on_beat_;
};

RankServer::RankServer() = default;

Result<std::unique_ptr<RankServer>> RankServer::Start(CoordinatorLink& link, SpoolForwarder& spool,
                                                      OnBeat on_beat,
                                                      const std::string& remembered_in) {
  std::error_code ignored;
  if (const Result<std::string> old = ReadFile(remembered_in, 4096);
      old.ok() && old->find("/muster-") != std::string::npos) {
    std::filesystem::remove_all(*old, ignored);
  }
  // A socket's path has at most 107 characters, too few for a state directory.
  std::string folder = "/tmp";
  for (const char* variable : {"TMPDIR", "XDG_RUNTIME_DIR"}) {
    const char* const wanted = std::getenv(variable);
    const bool usable =
        wanted != nullptr && std::strlen(wanted) <= 60 && ::access(wanted, W_OK | X_OK) == 0;
    if (usable) folder = wanted;
  }
  folder += "/muster-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return FromErrno("make a folder " + folder);
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(remembered_in, folder));

  std::unique_ptr<RankServer> server(new RankServer());
  server->folder_ = folder;
  server->address_ = "unix:" + folder + "/agent";
  server->service_ = std::make_unique<Service>(link, spool, std::move(on_beat));
  grpc::ServerBuilder builder;
  builder.AddListeningPort(server->address_, grpc::InsecureServerCredentials());
  builder.RegisterService(server->service_.get());
  constexpr int kMessageBytesMax = 64 << 20;
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr) return Unavailable("cannot listen on " + server->address_);
  return server;
}

RankServer::~RankServer() {
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

}  // namespace muster::agent
