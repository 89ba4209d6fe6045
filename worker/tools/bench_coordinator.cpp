// What a coordinator of this machine bears: submissions from many clients, jobs whose ranks take no
// time, followers of a log, many agents. All of it over gRPC to a process of its own.

#include <algorithm>
#include <array>
#include <cstdio>
#include <thread>

#include "base/uuid.h"
#include "muster/v1/cluster.grpc.pb.h"
#include "wire/client_call.h"
#include "worker/tools/benchmarks.h"
#include "worker/tools/fake_agents.h"
#include "worker/tools/own_process.h"

namespace muster::tools {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

struct Submitted {
  double per_second = 0;
  std::vector<double> ms;  // Of each.
};

v1::SubmitJobRequest NewRequest() {
  v1::SubmitJobRequest request;
  request.set_request_id(NewUuid());
  request.mutable_spec()->set_name("bench");
  request.mutable_spec()->mutable_collective()->set_steps(1);
  return request;
}

// `count` jobs from `clients` threads with a connection each: together `per_second` of them, or (0)
// each client as soon as it has its answer.
Result<Submitted> SubmitMany(const CoordinatorProcess& coordinator, unsigned count,
                             unsigned clients, double per_second = 0) {
  MUSTER_ASSIGN_OR_RETURN(const std::string token, coordinator.UserToken());
  std::vector<std::vector<double>> ms(clients);
  std::vector<Status> failed(clients);
  std::atomic<unsigned> left = count;
  std::vector<std::thread> threads;
  std::vector<v1::JobService::Stub> stubs;
  for (unsigned client = 0; client < clients; ++client) stubs.emplace_back(coordinator.Connect());
  const auto begin = Clock::now();
  for (unsigned client = 0; client < clients; ++client) {
    threads.emplace_back([&, client] {
      for (unsigned turn = 0; failed[client].ok() && left.fetch_sub(1) - 1 < count; ++turn) {
        if (per_second > 0) {
          std::this_thread::sleep_until(begin + std::chrono::duration_cast<Clock::duration>(Seconds(
                                                    (turn * clients + client) / per_second)));
        }
        const auto start = Clock::now();
        v1::SubmitJobResponse response;
        failed[client] = wire::Call(stubs[client], &v1::JobService::Stub::SubmitJob, token,
                                    NewRequest(), response, std::chrono::seconds(30));
        ms[client].push_back(Seconds(Clock::now() - start).count() * 1e3);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Submitted submitted;
  submitted.per_second = count / Seconds(Clock::now() - begin).count();
  for (unsigned client = 0; client < clients; ++client) {
    MUSTER_RETURN_IF_ERROR(failed[client]);
    submitted.ms.insert(submitted.ms.end(), ms[client].begin(), ms[client].end());
  }
  return submitted;
}

double Percentile(std::vector<double> samples, double share) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  return samples[static_cast<std::size_t>(share * static_cast<double>(samples.size() - 1))];
}

Status WaitForRanks(const FakeAgents& agents, std::uint64_t count) {
  const auto deadline = Clock::now() + std::chrono::minutes(3);
  while (agents.ranks_done() < count) {
    if (Clock::now() > deadline) return Status(StatusCode::kDeadlineExceeded, "jobs do not end");
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return {};
}

// Until nothing but `kept` jobs lives.
Status WaitForEnds(const CoordinatorProcess& coordinator, int kept) {
  MUSTER_ASSIGN_OR_RETURN(const std::string token, coordinator.UserToken());
  v1::JobService::Stub stub(coordinator.Connect());
  const auto deadline = Clock::now() + std::chrono::minutes(3);
  while (Clock::now() < deadline) {
    v1::ListJobsResponse jobs;
    MUSTER_RETURN_IF_ERROR(wire::Call(stub, &v1::JobService::Stub::ListJobs, token,
                                      v1::ListJobsRequest(), jobs, std::chrono::seconds(30)));
    if (jobs.jobs_size() <= kept) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return {StatusCode::kDeadlineExceeded, "jobs do not end"};
}

// Followers of job `id`'s log, to which `agent` appends 100 lines a second, while in scope.
class Followers {
 public:
  Followers(const CoordinatorProcess& coordinator, const std::string& user,
            const std::string& worker, std::uint64_t id, unsigned count) {
    v1::LogsRequest request;
    request.set_job_id(id);
    request.set_follow(true);
    for (unsigned i = 0; i < count; ++i) {
      auto& context = *contexts_.emplace_back(std::make_unique<grpc::ClientContext>());
      wire::Authenticate(context, user);
      threads_.emplace_back([this, &context, request, channel = coordinator.Connect()] {
        const auto stream = v1::JobService::NewStub(channel)->Logs(&context, request);
        for (v1::LogChunk chunk; stream->Read(&chunk);) bytes_ += chunk.text().size();
        static_cast<void>(stream->Finish());
      });
    }
    threads_.emplace_back([this, worker, id, channel = coordinator.Connect()] {
      v1::AgentService::Stub stub(channel);
      v1::AppendRequest append;
      append.set_job_id(id);
      append.set_attempt(1);
      append.set_stream(v1::STREAM_LOG);
      append.set_data(std::string(99, '.') + "\n");
      while (!stop_) {
        v1::AppendResponse response;
        if (!wire::Call(stub, &v1::AgentService::Stub::Append, worker, append, response,
                        std::chrono::seconds(10))
                 .ok()) {
          return;
        }
        append.set_offset(response.size());
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    });
  }
  ~Followers() {
    stop_ = true;
    for (auto& context : contexts_) context->TryCancel();
    for (std::thread& thread : threads_) thread.join();
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> bytes_ = 0;
};

struct Figures {
  Submitted idle, followed, paced;
  double jobs_per_second = 0, resident_mb = 0;
  std::vector<double> beat_ms;
  std::uint64_t followed_bytes = 0;
};

constexpr double kPacedPerSecond = 500;

Result<Figures> Measure(unsigned jobs, unsigned clients, unsigned agents) {
  MUSTER_ASSIGN_OR_RETURN(const auto coordinator, CoordinatorProcess::Start());
  MUSTER_ASSIGN_OR_RETURN(const std::string user, coordinator->UserToken());
  MUSTER_ASSIGN_OR_RETURN(const std::string worker, coordinator->WorkerToken());
  Figures figures;
  // The first job stays: its log is what is followed.
  MUSTER_ASSIGN_OR_RETURN(const Submitted first, SubmitMany(*coordinator, 1, 1));
  FakeAgents holder(coordinator->Connect(), worker, "holder-");
  holder.Add(1, 1, /*stays=*/true);
  MUSTER_RETURN_IF_ERROR(WaitForRanks(holder, 1));
  MUSTER_ASSIGN_OR_RETURN(figures.idle, SubmitMany(*coordinator, jobs / 4, clients));
  {
    constexpr unsigned kFollowers = 50;
    const Followers followers(*coordinator, user, worker, 1, kFollowers);
    MUSTER_ASSIGN_OR_RETURN(figures.followed, SubmitMany(*coordinator, jobs / 4, clients));
    MUSTER_ASSIGN_OR_RETURN(figures.paced,
                            SubmitMany(*coordinator, jobs / 4, clients, kPacedPerSecond));
    figures.followed_bytes = followers.bytes();
  }
  FakeAgents many(coordinator->Connect(), worker, "agent-");
  many.Add(8, 64);
  // Those that wait are out of the way before the clock starts.
  MUSTER_RETURN_IF_ERROR(WaitForEnds(*coordinator, 1));
  const auto begin = Clock::now();
  MUSTER_RETURN_IF_ERROR(SubmitMany(*coordinator, jobs / 2, clients).status());
  MUSTER_RETURN_IF_ERROR(WaitForEnds(*coordinator, 1));
  figures.jobs_per_second = jobs / 2 / Seconds(Clock::now() - begin).count();
  many.Add(agents - std::min(agents, 8U), 1);
  std::this_thread::sleep_for(std::chrono::seconds(2));
  static_cast<void>(many.TakeAnswerMs());
  std::this_thread::sleep_for(std::chrono::seconds(10));
  figures.beat_ms = many.TakeAnswerMs();
  figures.resident_mb = coordinator->ResidentMb();
  return figures;
}

}  // namespace

Status BenchmarkCoordinator(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  MUSTER_ASSIGN_OR_RETURN(const unsigned jobs, settings.Count("jobs"));
  MUSTER_ASSIGN_OR_RETURN(const unsigned clients, settings.Count("clients"));
  MUSTER_ASSIGN_OR_RETURN(const unsigned agents, settings.Count("agents"));
  MUSTER_ASSIGN_OR_RETURN(const Figures f, Measure(jobs, clients, agents));
  std::array<char, 1024> text{};
  std::snprintf(
      text.data(), text.size(),
      json ? "{\"submits_per_s\":%.0f,\"submit_ms_median\":%.2f,\"submit_ms_p99\":%.2f,"
             "\"followed_submits_per_s\":%.0f,\"followed_submit_ms_p99\":%.2f,"
             "\"paced_submit_ms_median\":%.2f,\"paced_submit_ms_p99\":%.2f,"
             "\"jobs_per_s\":%.0f,\"beat_ms_median\":%.2f,\"beat_ms_p99\":%.2f,"
             "\"resident_mb\":%.0f}\n"
           : "submissions, acknowledged on the disk: %.0f a second, median %.2f ms, p99 %.2f ms\n"
             "the same beside 50 followers of a log: %.0f a second, p99 %.2f ms\n"
             "beside them, 500 a second: median %.2f ms, p99 %.2f ms\n"
             "jobs from submission to success, ranks that take no time: %.0f a second\n"
             "agents' reports answered: median %.2f ms, p99 %.2f ms; coordinator holds %.0f MB\n",
      f.idle.per_second, Percentile(f.idle.ms, 0.5), Percentile(f.idle.ms, 0.99),
      f.followed.per_second, Percentile(f.followed.ms, 0.99), Percentile(f.paced.ms, 0.5),
      Percentile(f.paced.ms, 0.99), f.jobs_per_second, Percentile(f.beat_ms, 0.5),
      Percentile(f.beat_ms, 0.99), f.resident_mb);
  out << text.data() << std::flush;
  if (!json) {
    out << jobs << " jobs, " << clients << " clients, " << agents << " agents; the followers read "
        << f.followed_bytes << " bytes\n";
  }
  return {};
}

}  // namespace muster::tools
