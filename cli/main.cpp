// The one program. Only this file knows every folder: it puts together what the command line
// starts.
#include <sched.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "base/file.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/hooks.h"
#include "coordinator/run_coordinator.h"
#include "wire/token.h"
#include "worker/agent/agent.h"
#include "worker/agent/machine.h"
#include "worker/agent/numerics.h"
#include "worker/rank/job_check.h"
#include "worker/rank/rank.h"
#include "worker/tools/benchmarks.h"
#include "worker/tools/doctor.h"
#include "worker/tools/env_tools.h"

namespace muster {
namespace {

int Coordinator(const cli::CoordinatorArgs& args) {
  coordinator::RunOptions options;
  options.state = args.state;
  options.address = args.listen;
  options.http_port = static_cast<int>(args.http_port);
  options.store_bytes_max = args.store_max_gib << 30U;
  return cli::Report(coordinator::RunCoordinator(options));
}

// The `count` cores of worker `number`, out of those this process may use; shared when they do not
// suffice for all workers.
std::vector<int> CoresOf(unsigned number, unsigned count) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> available, chosen;
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return {};
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) available.push_back(core);
  }
  for (unsigned i = 0; i < count && i < available.size(); ++i) {
    chosen.push_back(available[(number * count + i) % available.size()]);
  }
  return chosen;
}

// How the worker shows who it is: the certificate with which it joined, or the worker token of a
// coordinator on this machine.
Status TakeProof(const cli::WorkerArgs& args, agent::AgentOptions& options) {
  options.coordinator = args.address;
  const wire::WorkerFiles joined = options.files.joined(args.number);
  Result<std::string> certificate = ReadFile(joined.certificate());
  if (!certificate.ok()) {
    MUSTER_ASSIGN_OR_RETURN(options.token, wire::ReadToken(args.token_file));
    if (auto authority = ReadFile(options.files.authority()); authority.ok()) {
      options.security.authority = std::move(*authority);
    }
    return {};
  }
  options.security.certificate = std::move(*certificate);
  MUSTER_ASSIGN_OR_RETURN(options.security.authority, ReadFile(joined.authority()));
  MUSTER_ASSIGN_OR_RETURN(options.security.key, ReadFile(joined.key()));
  MUSTER_ASSIGN_OR_RETURN(options.name, ReadFile(joined.name(), 256));
  options.name = options.name.substr(0, options.name.find('\n'));
  if (options.coordinator.empty()) {
    MUSTER_ASSIGN_OR_RETURN(const wire::Endpoint endpoint,
                            wire::ReadEndpoint(joined.coordinator()));
    options.coordinator = endpoint.address;
  }
  return {};
}

int Worker(const cli::WorkerArgs& args) {
  // Before any thread exists, so that all of them leave the signals to the descriptor.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  const int stop = ::signalfd(-1, &signals, SFD_CLOEXEC);
  agent::AgentOptions options;
  options.files = wire::FilesOf(args.state);
  if (const Status proof = TakeProof(args, options); !proof.ok()) return cli::Report(proof);
  options.number = args.number;
  options.slots = args.slots;
  options.cores = CoresOf(args.number, args.cores);
  options.memory_mib = args.memory_mib;
  options.interface = args.interface;
  options.leave = std::chrono::seconds(args.leave_seconds);
  options.http_listen = args.http_listen;
  options.data_bytes_max = std::uint64_t{args.data_cache_gib} << 30U;
  options.version = kVersion;
  if (!args.rank_executable.empty()) options.rank_executable = args.rank_executable;
  return cli::Report(agent::RunAgent(options, stop));
}

int Rank(const std::string& assignment) { rank::RunRank(assignment); }

int Doctor(const std::string& state, bool json, unsigned columns) {
  tools::DoctorOptions options;
  options.state = state;
  options.cores = agent::AvailableCores().size();
  options.memory_mib = agent::AvailableMemoryMib();
  options.numerics_class = agent::NumericsClass("/proc/self/exe");
  for (const v1::GpuInfo& gpu : agent::Gpus()) options.gpus.push_back(gpu.model());
  options.json = json;
  const std::size_t noes = tools::RunDoctor(options, columns, std::cout);
  return noes == 0 ? cli::kExitOk : cli::kExitInfrastructure;
}

Status Env(const cli::EnvArgs& args) {
  tools::EnvToolOptions options;
  options.action = args.action;
  options.name = args.name;
  options.settings = args.settings;
  options.seed = args.seed;
  options.actions = args.actions;
  options.agent = args.agent;
  options.steps = args.steps.value_or(options.steps);
  options.gif.path = args.gif;
  options.gif.steps = args.steps;
  options.gif.episodes = args.episodes;
  options.gif.frame_ms = args.frame_ms;
  options.envs = args.envs;
  options.output = args.output;
  options.json = args.json;
  options.peers = !args.no_peers;
  return tools::RunEnvTool(options, std::cin, std::cout);
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  // What gRPC prints by itself says less than what its errors become here.
  ::setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  muster::cli::Hooks hooks;
  hooks.run_coordinator = muster::Coordinator;
  hooks.run_worker = muster::Worker;
  hooks.run_rank = muster::Rank;
  hooks.check_job = muster::rank::CheckJob;
  hooks.run_bench = muster::tools::RunBenchmark;
  hooks.run_doctor = muster::Doctor;
  hooks.run_env = muster::Env;
  for (const auto& bench : muster::tools::Benchmarks()) {
    hooks.benches.push_back({bench.name, bench.help, bench.settings});
  }
  return muster::cli::RunMuster(argc, argv, hooks);
}
