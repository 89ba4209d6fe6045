// From `muster submit` to the first optimiser step: a cluster of this program's own, asked as a
// person would, by starting the command.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "muster/v1/cluster.grpc.pb.h"
#include "wire/client_call.h"
#include "wire/cluster_files.h"
#include "wire/token.h"
#include "worker/tools/bench_job.h"
#include "worker/tools/benchmarks.h"
#include "worker/tools/run_program.h"

namespace muster::tools {
namespace {

struct Cluster {
  std::string state;
  std::string token;
  std::unique_ptr<v1::JobService::Stub> jobs;
};

// Follows the job until it has done its first step, then cancels it and waits for its end.
Result<double> FirstStepMs(Cluster& cluster, const std::string& job_file) {
  const auto begin = std::chrono::steady_clock::now();
  MUSTER_ASSIGN_OR_RETURN(const std::string id,
                          RunMuster({"submit", job_file, "--state", cluster.state}));
  v1::JobRequest request;
  request.set_job_id(std::strtoull(id.c_str(), nullptr, 10));
  grpc::ClientContext context;
  wire::Authenticate(context, cluster.token);
  const auto stream = cluster.jobs->WatchJob(&context, request);
  v1::JobInfo job;
  double elapsed_ms = 0;
  while (stream->Read(&job)) {
    if (elapsed_ms == 0 && (job.state() == v1::JOB_STATE_RUNNING || job.steps_done() > 0)) {
      elapsed_ms =
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
              .count();
      v1::CancelJobResponse response;
      MUSTER_RETURN_IF_ERROR(wire::Call(*cluster.jobs, &v1::JobService::Stub::CancelJob,
                                        cluster.token, request, response,
                                        std::chrono::milliseconds(10'000)));
    }
  }
  MUSTER_RETURN_IF_ERROR(wire::FromGrpc(stream->Finish()));
  if (elapsed_ms == 0) return Internal("the job ended before its first step: " + job.reason());
  return elapsed_ms;
}

Result<Cluster> StartCluster(const std::string& state) {
  MUSTER_RETURN_IF_ERROR(
      RunMuster({"up", "--detach", "--workers", "2", "--state", state}).status());
  const wire::ClusterFiles files = wire::FilesOf(state);
  Cluster cluster;
  cluster.state = state;
  MUSTER_ASSIGN_OR_RETURN(cluster.token, wire::ReadToken(files.user_token()));
  MUSTER_ASSIGN_OR_RETURN(std::string address, ReadFile(files.address(), 4096));
  address.resize(address.find_last_not_of("\r\n") + 1);
  cluster.jobs = v1::JobService::NewStub(wire::Connect(address));
  return cluster;
}

Result<std::vector<double>> Samples(const std::string& state, const std::string& job_file,
                                    unsigned repetitions) {
  MUSTER_ASSIGN_OR_RETURN(Cluster cluster, StartCluster(state));
  std::vector<double> samples;
  for (unsigned i = 0; i <= repetitions; ++i) {
    MUSTER_ASSIGN_OR_RETURN(const double sample, FirstStepMs(cluster, job_file));
    if (i > 0) samples.push_back(sample);  // The first one fills the data cache.
  }
  return samples;
}

}  // namespace

Status BenchmarkSubmit(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  MUSTER_ASSIGN_OR_RETURN(const unsigned repetitions, settings.Count("repetitions"));
  std::string state = std::filesystem::temp_directory_path() / "muster-bench-XXXXXX";
  if (::mkdtemp(state.data()) == nullptr) return FromErrno("mkdtemp " + state);
  const Result<BenchJob> job =
      LoadBenchJob(settings.Text("job"), state, wire::FilesOf(state).cache());
  if (!job.ok()) {
    std::error_code unused;
    std::filesystem::remove_all(state, unused);
    return job.status();
  }
  const Result<std::vector<double>> samples = Samples(state, job->path, repetitions);
  const Status down = RunMuster({"down", "--state", state}).status();
  std::error_code ignored;
  std::filesystem::remove_all(state, ignored);
  MUSTER_RETURN_IF_ERROR(samples.status());
  MUSTER_RETURN_IF_ERROR(down);
  const Spread spread = SpreadOf(*samples);
  char text[256];
  std::snprintf(text, sizeof(text),
                json ? "{\"first_step_ms_median\":%.1f,\"first_step_ms_least\":%.1f,"
                       "\"first_step_ms_most\":%.1f}\n"
                     : "from submit to the first optimiser step: median %.0f ms, least %.0f, most "
                       "%.0f (promised: below 500)\n",
                spread.median, spread.least, spread.most);
  out << text << std::flush;
  return {};
}

}  // namespace muster::tools
