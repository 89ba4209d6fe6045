// PPO that collects for itself, and by one rollout worker, a process of this machine: in turns.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <thread>

#include "bench/timing_host.h"
#include "collectives/local/local_group.h"
#include "tensor/thread_pool.h"
#include "trainer/rl/ppo_trainer.h"
#include "worker/rank/rollout_server.h"
#include "worker/rank/rollout_worker.h"
#include "worker/tools/benchmarks.h"

namespace muster::tools {
namespace {

constexpr std::uint64_t kUpdates = 10;
constexpr std::uint64_t kWarmUp = 2;

// The child of this process that collects; ends with it.
class Child {
 public:
  Child(const rl::PpoOptions& options, const std::string& folder, std::size_t threads)
      : pid_(::fork()) {
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    FileRendezvous rendezvous(folder);
    const std::atomic<bool> stop = false;
    (void)rank::CollectRollouts(options, {.worker = "bench", .threads = threads}, rendezvous, stop);
    ::_exit(1);
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

Result<double> StepsPerSecond(const rl::PpoOptions& options, ThreadPool& pool,
                              rl::RemoteRollouts* remote) {
  const auto groups = CreateLocalGroups(1);
  TimingHost host(kWarmUp);
  MUSTER_RETURN_IF_ERROR(rl::TrainPpo(options, {}, *groups[0], pool, host, remote).status());
  return static_cast<double>((kUpdates - kWarmUp) * options.batch_size()) / host.seconds();
}

}  // namespace

Status BenchmarkRollouts(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  MUSTER_ASSIGN_OR_RETURN(const unsigned envs, settings.Count("envs"));
  MUSTER_ASSIGN_OR_RETURN(const unsigned steps, settings.Count("rollout_steps"));
  MUSTER_ASSIGN_OR_RETURN(const unsigned hidden, settings.Count("hidden"));
  MUSTER_ASSIGN_OR_RETURN(const unsigned threads, settings.Count("threads"));
  MUSTER_ASSIGN_OR_RETURN(const unsigned repetitions, settings.Count("repetitions"));
  rl::PpoOptions options;
  options.environment.name = settings.Text("environment");
  options.policy.hidden = {hidden, hidden};
  options.envs = envs;
  options.rollout_steps = steps;
  options.lanes = 2;
  options.seed = 1;
  options.total_steps = kUpdates * options.batch_size();
  std::string folder = std::filesystem::temp_directory_path() / "muster-rollouts-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return FromErrno("mkdtemp " + folder);
  std::vector<double> local, remote, ratio, ahead, ahead_ratio;
  const Status measured = [&]() -> Status {
    const Child child(options, folder, threads);  // Before this process has threads.
    MUSTER_ASSIGN_OR_RETURN(const auto server,
                            rank::RolloutServer::Start({.lanes = options.lanes}));
    FileRendezvous rendezvous(folder);
    MUSTER_RETURN_IF_ERROR(rendezvous.Put(rank::InvitationKey(0), server->Invitation()));
    for (int i = 0; i < 1'000 && server->workers() == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (server->workers() == 0) return Unavailable("the rollout worker did not come");
    ThreadPool pool(threads);
    rl::PpoOptions lagging = options;
    lagging.max_policy_lag = 1;
    for (unsigned round = 0; round < repetitions; ++round) {
      MUSTER_ASSIGN_OR_RETURN(const double here, StepsPerSecond(options, pool, nullptr));
      MUSTER_ASSIGN_OR_RETURN(const double there, StepsPerSecond(options, pool, server.get()));
      MUSTER_ASSIGN_OR_RETURN(const double both, StepsPerSecond(lagging, pool, server.get()));
      local.push_back(here);
      remote.push_back(there);
      ratio.push_back(there / here);
      ahead.push_back(both);
      ahead_ratio.push_back(both / here);
    }
    return {};
  }();
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  MUSTER_RETURN_IF_ERROR(measured);
  const Spread here = SpreadOf(local), there = SpreadOf(remote), both = SpreadOf(ahead);
  const Spread cost = SpreadOf(ratio), gain = SpreadOf(ahead_ratio);
  char text[1024];
  std::snprintf(text, sizeof(text),
                json ? "{\"local_steps_per_s\":%.0f,\"worker_steps_per_s\":%.0f,"
                       "\"worker_to_local\":%.3f,\"lag_1_steps_per_s\":%.0f,"
                       "\"lag_1_to_local\":%.3f}\n"
                     : "Environment steps a second of training\n"
                       "  collecting for itself        %9.0f\n"
                       "  one rollout worker           %9.0f: %.2f",
                here.median, there.median, cost.median, both.median, gain.median);
  out << text;
  if (json) return {};
  std::snprintf(text, sizeof(text),
                " of it (%.2f .. %.2f)\n"
                "  and policies that lag by 1   %9.0f: %.2f of it (%.2f .. %.2f)\n",
                cost.least, cost.most, both.median, gain.median, gain.least, gain.most);
  out << text << std::flush;
  return {};
}

}  // namespace muster::tools
