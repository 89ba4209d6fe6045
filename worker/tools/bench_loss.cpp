// A worker falls silent, as a host without power does: nobody is told, no connection is closed. How
// long until its job does a step elsewhere.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "muster/v1/cluster.grpc.pb.h"
#include "wire/client_call.h"
#include "wire/cluster_files.h"
#include "worker/tools/bench_job.h"
#include "worker/tools/benchmarks.h"
#include "worker/tools/own_process.h"
#include "worker/tools/run_program.h"

namespace muster::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience(120);
constexpr unsigned kWorkers = 2;

struct ClusterThatLoses {
  std::unique_ptr<CoordinatorProcess> coordinator;
  std::string token;
  std::unique_ptr<v1::JobService::Stub> jobs;
  std::array<std::unique_ptr<OwnProcess>, kWorkers> workers;

  Status StartWorker(unsigned number) {
    MUSTER_ASSIGN_OR_RETURN(
        workers[number], OwnProcess::Start({"worker", "--number", std::to_string(number), "--state",
                                            coordinator->files().state, "--cores", "1"}));
    return {};
  }
};

// The job as it is once `reached` holds.
template <class Reached>
Result<v1::JobInfo> WaitFor(ClusterThatLoses& cluster, std::uint64_t id, Reached reached) {
  v1::JobRequest request;
  request.set_job_id(id);
  grpc::ClientContext context;
  wire::Authenticate(context, cluster.token);
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const auto stream = cluster.jobs->WatchJob(&context, request);
  v1::JobInfo job;
  while (stream->Read(&job)) {
    if (!reached(job)) continue;
    context.TryCancel();
    static_cast<void>(stream->Finish());
    return job;
  }
  const Status ended = wire::FromGrpc(stream->Finish());
  return Internal("the job did not get so far: " + (ended.ok() ? job.reason() : ended.message()));
}

Result<double> LossMs(ClusterThatLoses& cluster, const std::string& job_file) {
  MUSTER_ASSIGN_OR_RETURN(
      const std::string text,
      RunMuster({"submit", job_file, "--state", cluster.coordinator->files().state, "--set",
                 "resources.ranks=1", "--set", "resources.threads_per_rank=1", "--set",
                 "supervised.epochs=1000", "--set", "checkpoint.every_steps=5"}));
  const std::uint64_t id = std::strtoull(text.c_str(), nullptr, 10);
  MUSTER_ASSIGN_OR_RETURN(const v1::JobInfo job, WaitFor(cluster, id, [](const v1::JobInfo& seen) {
                            return seen.state() == v1::JOB_STATE_RUNNING &&
                                   seen.checkpoints_size() > 0;
                          }));
  const std::string& worker = job.ranks(0).worker();
  const unsigned number = worker.ends_with("-0") ? 0 : 1;
  const pid_t agent = cluster.workers[number]->pid(), rank = job.ranks(0).pid();
  const auto begin = Clock::now();
  ::kill(agent, SIGSTOP);
  ::kill(rank, SIGSTOP);
  const Status again = WaitFor(cluster, id, [](const v1::JobInfo& seen) {
                         return seen.attempt() == 2 && seen.state() == v1::JOB_STATE_RUNNING;
                       }).status();
  const std::chrono::duration<double, std::milli> took = Clock::now() - begin;
  ::kill(rank, SIGKILL);
  cluster.workers[number]->End(SIGKILL);
  MUSTER_RETURN_IF_ERROR(again);
  v1::JobRequest request;
  request.set_job_id(id);
  v1::CancelJobResponse cancelled;
  MUSTER_RETURN_IF_ERROR(wire::Call(*cluster.jobs, &v1::JobService::Stub::CancelJob, cluster.token,
                                    request, cancelled, std::chrono::seconds(10)));
  MUSTER_RETURN_IF_ERROR(WaitFor(cluster, id, [](const v1::JobInfo& seen) {
                           return seen.state() == v1::JOB_STATE_CANCELLED;
                         }).status());
  MUSTER_RETURN_IF_ERROR(cluster.StartWorker(number));
  return took.count();
}

Result<std::vector<double>> Samples(const BenchmarkSettings& settings, unsigned repetitions) {
  ClusterThatLoses cluster;
  MUSTER_ASSIGN_OR_RETURN(cluster.coordinator, CoordinatorProcess::Start());
  const wire::ClusterFiles& files = cluster.coordinator->files();
  MUSTER_ASSIGN_OR_RETURN(const BenchJob job,
                          LoadBenchJob(settings.Text("job"), files.state, files.cache()));
  if (!job.spec.has_supervised()) return InvalidArgument("job: give one of recipe [supervised]");
  MUSTER_ASSIGN_OR_RETURN(cluster.token, cluster.coordinator->UserToken());
  cluster.jobs = v1::JobService::NewStub(cluster.coordinator->Connect());
  for (unsigned number = 0; number < kWorkers; ++number) {
    MUSTER_RETURN_IF_ERROR(cluster.StartWorker(number));
  }
  std::vector<double> samples;
  for (unsigned i = 0; i < repetitions; ++i) {
    MUSTER_ASSIGN_OR_RETURN(const double sample, LossMs(cluster, job.path));
    samples.push_back(sample);
  }
  return samples;
}

}  // namespace

Status BenchmarkLoss(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  MUSTER_ASSIGN_OR_RETURN(const unsigned repetitions, settings.Count("repetitions"));
  MUSTER_ASSIGN_OR_RETURN(const std::vector<double> samples, Samples(settings, repetitions));
  const Spread spread = SpreadOf(samples);
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(),
                json ? "{\"loss_to_step_ms_median\":%.0f,\"loss_to_step_ms_least\":%.0f,"
                       "\"loss_to_step_ms_most\":%.0f}\n"
                     : "from a worker's silence to its job's first step on another: median %.0f "
                       "ms, least %.0f, most %.0f (a worker counts as lost after 3000 ms)\n",
                spread.median, spread.least, spread.most);
  out << text.data() << std::flush;
  return {};
}

}  // namespace muster::tools
