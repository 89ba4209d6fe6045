#include "tests/unit/cli/fake_cluster.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "base/file.h"
#include "base/sha256.h"
#include "base/uuid.h"
#include "cli/commands.h"
#include "wire/cluster_files.h"
#include "wire/retry_after.h"

namespace muster::cli {
namespace {

grpc::Status NoJob() { return {grpc::StatusCode::NOT_FOUND, "no job of that number"}; }

}  // namespace

FakeCluster::FakeCluster()
    : state_(std::filesystem::temp_directory_path() / ("muster-test-" + NewUuid())) {
  std::filesystem::create_directories(state_);
  const wire::ClusterFiles files = wire::FilesOf(state_);
  EXPECT_TRUE(WriteFileAtomically(files.user_token(), "secret\n", 0600).ok());
  int ready[2] = {-1, -1};
  EXPECT_EQ(::pipe(ready), 0);
  lock_holder_ = ::fork();
  if (lock_holder_ == 0) {
    const Result<LockFile> lock = LockFile::Acquire(files.coordinator_lock());
    static_cast<void>(::write(ready[1], "x", 1) + (lock.ok() ? 1 : 0));
    while (true) ::pause();
  }
  char byte = 0;
  EXPECT_EQ(::read(ready[0], &byte, 1), 1);
  ::close(ready[0]);
  ::close(ready[1]);
  StartServer();
}

void FakeCluster::ReleaseLock() {
  if (lock_holder_ == 0) return;
  ::kill(lock_holder_, SIGKILL);
  ::waitpid(lock_holder_, nullptr, 0);
  lock_holder_ = 0;
}

FakeCluster::~FakeCluster() {
  StopServer();
  ReleaseLock();
  std::filesystem::remove_all(state_);
}

void FakeCluster::StartServer() {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  EXPECT_NE(server_, nullptr);
  EXPECT_TRUE(WriteFileAtomically(wire::FilesOf(state_).address(),
                                  "127.0.0.1:" + std::to_string(port) + "\n")
                  .ok());
}

void FakeCluster::StopServer() {
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
}

void FakeCluster::Restart() {
  StopServer();
  StartServer();
}

bool FakeCluster::Known(Context* context) {
  const auto found = context->client_metadata().find("authorization");
  return found != context->client_metadata().end() && found->second == "Bearer secret";
}

grpc::Status FakeCluster::SubmitJob(Context* context, const v1::SubmitJobRequest* request,
                                    v1::SubmitJobResponse* response) {
  if (!Known(context)) return {grpc::StatusCode::UNAUTHENTICATED, "unknown token"};
  const std::lock_guard lock(mutex_);
  ++submissions;
  request_ids.insert(request->request_id());
  if (throttle_submits-- > 0) {
    context->AddTrailingMetadata(wire::kRetryAfterKey, "20");
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "ada (student) calls too often"};
  }
  if (!refuse_submits.empty()) return {grpc::StatusCode::INVALID_ARGUMENT, refuse_submits};
  if (lose_submit_answers-- > 0) return {grpc::StatusCode::UNAVAILABLE, "lost"};
  response->set_job_id(7);
  return {};
}

grpc::Status FakeCluster::ListJobs(Context* context, const v1::ListJobsRequest*,
                                   v1::ListJobsResponse* response) {
  if (!Known(context)) return {grpc::StatusCode::UNAUTHENTICATED, "unknown token"};
  for (const v1::JobInfo& job : jobs) *response->add_jobs() = job;
  return {};
}

grpc::Status FakeCluster::GetJob(Context*, const v1::JobRequest* request, v1::JobInfo* response) {
  for (const v1::JobInfo& job : jobs) {
    if (job.id() != request->job_id()) continue;
    *response = job;
    return {};
  }
  return NoJob();
}

grpc::Status FakeCluster::CancelJob(Context*, const v1::JobRequest*,
                                    v1::CancelJobResponse* response) {
  ++cancellations;
  response->set_state(v1::JOB_STATE_CANCELLED);
  return {};
}

grpc::Status FakeCluster::WatchJob(Context*, const v1::JobRequest* request,
                                   Writer<v1::JobInfo>* writer) {
  bool found = false;
  for (const v1::JobInfo& job : jobs) {
    if (job.id() != request->job_id()) continue;
    found = true;
    writer->Write(job);
  }
  return found ? grpc::Status() : NoJob();
}

grpc::Status FakeCluster::Logs(Context*, const v1::LogsRequest* request,
                               Writer<v1::LogChunk>* writer) {
  for (std::size_t i = request->position(); i < log.size(); ++i) {
    if (break_log_after == static_cast<int>(i)) {
      break_log_after = -1;
      return {grpc::StatusCode::UNAVAILABLE, "the coordinator was killed"};
    }
    v1::LogChunk chunk = log[i];
    chunk.set_next_position(i + 1);
    writer->Write(chunk);
  }
  return {};
}

grpc::Status FakeCluster::Metrics(Context*, const v1::MetricsRequest* request,
                                  Writer<v1::MetricsChunk>* writer) {
  std::vector<v1::MetricsChunk> all = metrics;
  if (request->follow()) all.insert(all.end(), metrics_later.begin(), metrics_later.end());
  for (std::size_t i = request->position(); i < all.size(); ++i) {
    v1::MetricsChunk chunk = all[i];
    chunk.set_next_position(i + 1);
    writer->Write(chunk);
  }
  return {};
}

grpc::Status FakeCluster::ListNodes(Context*, const v1::ListNodesRequest*,
                                    v1::ListNodesResponse* response) {
  v1::NodeInfo* node = response->add_nodes();
  node->set_worker("host-0");
  node->set_state("ready");
  node->set_slots(2);
  return {};
}

grpc::Status FakeCluster::DownloadCheckpoint(Context*, const v1::DownloadCheckpointRequest*,
                                             Writer<v1::CheckpointChunk>* writer) {
  if (checkpoint.empty()) return {grpc::StatusCode::NOT_FOUND, "the job has no checkpoint"};
  for (const v1::CheckpointChunk& chunk : checkpoint) writer->Write(chunk);
  return {};
}

grpc::Status FakeCluster::Info(Context*, const v1::InfoRequest*, v1::InfoResponse* response) {
  response->set_version("fake");
  return {};
}

CommandResult Muster(const std::vector<std::string>& arguments) {
  static const Hooks kNoHooks;
  std::vector<const char*> argv = {"muster"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  CommandResult result;
  result.exit_code = RunMuster(static_cast<int>(argv.size()), argv.data(), kNoHooks);
  result.out = testing::internal::GetCapturedStdout();
  result.err = testing::internal::GetCapturedStderr();
  return result;
}

std::vector<v1::CheckpointChunk> CheckpointOf(
    const std::vector<std::pair<std::string, std::string>>& files) {
  std::string manifest;
  std::vector<v1::CheckpointChunk> chunks(1);
  const auto add = [&](const std::string& path, const std::string& bytes) {
    v1::CheckpointChunk chunk;
    chunk.set_path(path);
    chunk.set_data(bytes.substr(0, bytes.size() / 2));
    chunks.push_back(chunk);
    chunk.clear_path();
    chunk.set_data(bytes.substr(bytes.size() / 2));
    chunks.push_back(chunk);
  };
  for (const auto& [path, bytes] : files) {
    manifest += std::string(manifest.empty() ? "" : ",") + R"({"path":")" + path +
                R"(","sha256":")" + Sha256Of(bytes) + R"(","size":)" +
                std::to_string(bytes.size()) + "}";
    add(path, bytes);
  }
  manifest = R"({"files":[)" + manifest + R"(],"format":1,"step":20})";
  add("manifest.json", manifest);
  chunks[0].mutable_begin()->set_step(20);
  chunks[0].mutable_begin()->set_sha256(Sha256Of(manifest));
  return chunks;
}

}  // namespace muster::cli
