#include "tests/support/fake_coordinator.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <tuple>

#include "base/file.h"

namespace muster {

constexpr std::chrono::seconds kPatience(20);

class FakeCoordinator::Service final : public v1::AgentService::Service {
 public:
  using SpoolKey = std::tuple<std::uint64_t, std::uint32_t, std::uint32_t, int>;

  grpc::Status Attend(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::DesiredState, v1::AgentReport>* stream) override {
    bool over = false;
    std::thread writer([&] {
      std::unique_lock lock(mutex);
      std::uint64_t sent = 0, answered = 0;
      while (!over && !context->IsCancelled()) {
        if (registered && (sent != desired_version || answered != report.sequence())) {
          sent = desired_version;
          answered = report.sequence();
          v1::DesiredState state = desired;
          state.set_answers(answered);
          lock.unlock();
          stream->Write(state);
          lock.lock();
        } else {
          changed.wait_for(lock, std::chrono::milliseconds(100));
        }
      }
    });
    for (v1::AgentReport next; stream->Read(&next);) {
      const std::lock_guard lock(mutex);
      report = next;
      registered = true;
      changed.notify_all();
    }
    {
      const std::lock_guard lock(mutex);
      over = true;
      changed.notify_all();
    }
    writer.join();
    return grpc::Status::OK;
  }

  grpc::Status Append(grpc::ServerContext*, const v1::AppendRequest* request,
                      v1::AppendResponse* response) override {
    const std::lock_guard lock(mutex);
    if (request->stream() == v1::STREAM_METRICS && !metrics_refusal.ok()) return metrics_refusal;
    std::string& have =
        spools[{request->job_id(), request->attempt(), request->rank(), request->stream()}];
    const std::string& data = request->data();
    if (request->offset() > have.size() || (!data.empty() && data.back() != '\n')) bad = true;
    if (request->offset() <= have.size() && request->offset() + data.size() > have.size()) {
      have += data.substr(have.size() - request->offset());
    }
    response->set_size(have.size());
    changed.notify_all();
    return grpc::Status::OK;
  }

  grpc::Status UploadCheckpoint(grpc::ServerContext*, grpc::ServerReader<v1::CheckpointChunk>* in,
                                v1::UploadCheckpointResponse*) override {
    v1::CheckpointBegin begin;
    Files files;
    std::string path;
    for (v1::CheckpointChunk chunk; in->Read(&chunk);) {
      if (chunk.has_begin()) begin = chunk.begin();
      if (!chunk.path().empty()) path = chunk.path();
      if (!path.empty()) files[path] += chunk.data();
    }
    const std::lock_guard lock(mutex);
    if (!upload_refusal.ok()) return upload_refusal;
    const std::string& metrics = spools[{begin.job_id(), begin.attempt(), 0, v1::STREAM_METRICS}];
    if (metrics.size() < begin.metrics_bytes()) {
      return {grpc::StatusCode::FAILED_PRECONDITION, "its metrics are not here yet"};
    }
    stored[{begin.job_id(), begin.step()}] = files;
    changed.notify_all();
    return grpc::Status::OK;
  }

  grpc::Status FetchCheckpoint(grpc::ServerContext*, const v1::DownloadCheckpointRequest* request,
                               grpc::ServerWriter<v1::CheckpointChunk>* out) override {
    Files files;
    {
      const std::lock_guard lock(mutex);
      files = stored[{request->job_id(), request->step()}];
    }
    v1::CheckpointChunk chunk;
    chunk.mutable_begin()->set_step(request->step());
    out->Write(chunk);
    for (const auto& [path, content] : files) {
      chunk.Clear();
      chunk.set_path(path);
      chunk.set_data(content);
      out->Write(chunk);
    }
    return grpc::Status::OK;
  }

  grpc::Status Put(grpc::ServerContext*, const v1::PutRequest* request, v1::PutResponse*) override {
    const std::lock_guard lock(mutex);
    values[request->key()] = request->value();
    return grpc::Status::OK;
  }

  grpc::Status Get(grpc::ServerContext*, const v1::GetRequest* request,
                   v1::GetResponse* response) override {
    const std::lock_guard lock(mutex);
    const auto found = values.find(request->key());
    if (found == values.end()) return {grpc::StatusCode::DEADLINE_EXCEEDED, "no such key"};
    response->set_value(found->second);
    return grpc::Status::OK;
  }

  std::mutex mutex;
  std::condition_variable changed;
  v1::DesiredState desired;
  std::uint64_t desired_version = 1;
  v1::AgentReport report;
  bool registered = false;
  bool bad = false;
  std::map<SpoolKey, std::string> spools;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Files> stored;
  std::map<std::string, std::string> values;
  grpc::Status upload_refusal, metrics_refusal;
};

FakeCoordinator::FakeCoordinator(std::string address_file)
    : address_file_(std::move(address_file)), service_(std::make_unique<Service>()) {
  Start();
}

FakeCoordinator::~FakeCoordinator() { Stop(); }

void FakeCoordinator::Start() {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
  const Status published =
      WriteFileAtomically(address_file_, "127.0.0.1:" + std::to_string(port) + "\n");
  ASSERT_TRUE(published.ok()) << published.message();
}

void FakeCoordinator::Stop() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_.reset();
  const std::lock_guard lock(service_->mutex);
  service_->registered = false;
}

void FakeCoordinator::Desire(const v1::DesiredState& state) {
  const std::lock_guard lock(service_->mutex);
  service_->desired = state;
  ++service_->desired_version;
  service_->changed.notify_all();
}

v1::AgentReport FakeCoordinator::WaitForReport(
    const std::function<bool(const v1::AgentReport&)>& wanted) {
  std::unique_lock lock(service_->mutex);
  EXPECT_TRUE(service_->changed.wait_for(lock, kPatience, [&] { return wanted(service_->report); }))
      << "the last report: " << service_->report.ShortDebugString();
  return service_->report;
}

v1::AgentReport FakeCoordinator::last_report() {
  const std::lock_guard lock(service_->mutex);
  return service_->report;
}

std::string FakeCoordinator::Spooled(std::uint64_t job, std::uint32_t attempt, std::uint32_t rank,
                                     v1::Stream of) {
  const std::lock_guard lock(service_->mutex);
  return service_->spools[{job, attempt, rank, of}];
}

void FakeCoordinator::WaitForSpooled(std::uint64_t job, std::uint32_t attempt, std::uint32_t rank,
                                     v1::Stream of, const std::string& text) {
  std::unique_lock lock(service_->mutex);
  const std::string& have = service_->spools[{job, attempt, rank, of}];
  EXPECT_TRUE(service_->changed.wait_for(lock, kPatience,
                                         [&] { return have.find(text) != std::string::npos; }))
      << "no '" << text << "' in: " << have;
}

std::map<std::pair<std::uint64_t, std::uint64_t>, FakeCoordinator::Files>
FakeCoordinator::checkpoints() {
  const std::lock_guard lock(service_->mutex);
  return service_->stored;
}

void FakeCoordinator::PutCheckpoint(std::uint64_t job, std::uint64_t step, Files files) {
  const std::lock_guard lock(service_->mutex);
  service_->stored[{job, step}] = std::move(files);
}

void FakeCoordinator::RefuseUploads(grpc::Status status) {
  const std::lock_guard lock(service_->mutex);
  service_->upload_refusal = std::move(status);
}

void FakeCoordinator::RefuseMetrics(grpc::Status status) {
  const std::lock_guard lock(service_->mutex);
  service_->metrics_refusal = std::move(status);
}

bool FakeCoordinator::saw_bad_append() {
  const std::lock_guard lock(service_->mutex);
  return service_->bad;
}

}  // namespace muster
