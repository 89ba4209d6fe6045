// A cluster of one process for the commands' tests: a JobService on loopback with a few jobs, and
// the state directory that leads to it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "muster/v1/cluster.grpc.pb.h"

namespace muster::cli {

class FakeCluster final : public v1::JobService::Service {
 public:
  FakeCluster();
  ~FakeCluster() override;

  const std::string& state() const { return state_; }
  // The server goes away, all streams with it, and comes back on another port.
  void Restart();
  void StopServer();
  // As if no process watched over the cluster any more.
  void ReleaseLock();

  // What it serves; set before a command runs.
  std::vector<v1::JobInfo> jobs;  // WatchJob sends the one asked for, once per entry.
  std::vector<v1::LogChunk> log;  // Positions are indices + 1.
  std::vector<v1::MetricsChunk> metrics;
  std::vector<v1::MetricsChunk> metrics_later;  // Comes for those who follow.
  std::string refuse_submits;                   // Why, if they are.
  std::vector<v1::CheckpointChunk> checkpoint;
  std::atomic<int> break_log_after = -1;     // Chunks, then the stream breaks, once.
  std::atomic<int> lose_submit_answers = 0;  // So many answers get lost after the job was taken.
  std::atomic<int> throttle_submits = 0;     // So many are refused first, for 20 ms each.

  std::set<std::string> request_ids;  // Of SubmitJob, distinct.
  std::atomic<int> submissions = 0;   // Calls of SubmitJob.
  std::atomic<int> cancellations = 0;

 private:
  using Context = grpc::ServerContext;
  template <class T>
  using Writer = grpc::ServerWriter<T>;
  static bool Known(Context* context);
  grpc::Status SubmitJob(Context*, const v1::SubmitJobRequest*, v1::SubmitJobResponse*) override;
  grpc::Status ListJobs(Context*, const v1::ListJobsRequest*, v1::ListJobsResponse*) override;
  grpc::Status GetJob(Context*, const v1::JobRequest*, v1::JobInfo*) override;
  grpc::Status CancelJob(Context*, const v1::JobRequest*, v1::CancelJobResponse*) override;
  grpc::Status WatchJob(Context*, const v1::JobRequest*, Writer<v1::JobInfo>*) override;
  grpc::Status Logs(Context*, const v1::LogsRequest*, Writer<v1::LogChunk>*) override;
  grpc::Status Metrics(Context*, const v1::MetricsRequest*, Writer<v1::MetricsChunk>*) override;
  grpc::Status ListNodes(Context*, const v1::ListNodesRequest*, v1::ListNodesResponse*) override;
  grpc::Status DownloadCheckpoint(Context*, const v1::DownloadCheckpointRequest*,
                                  Writer<v1::CheckpointChunk>*) override;
  grpc::Status Info(Context*, const v1::InfoRequest*, v1::InfoResponse*) override;
  void StartServer();

  std::string state_;
  std::mutex mutex_;
  std::unique_ptr<grpc::Server> server_;
  // Another process holds the coordinator's lock, as one would that may come back.
  int lock_holder_ = 0;
};

struct CommandResult {
  int exit_code = 0;
  std::string out;
  std::string err;
};

// Runs a command line in this process: Muster({"ps", "--state", ...}).
CommandResult Muster(const std::vector<std::string>& arguments);

// A checkpoint of these files with its manifest, as the cluster sends it.
std::vector<v1::CheckpointChunk> CheckpointOf(
    const std::vector<std::pair<std::string, std::string>>& files);

}  // namespace muster::cli
