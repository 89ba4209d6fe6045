// `muster coordinator`, `muster worker` and `muster rank`: the processes of a cluster. What they do
// lies behind hooks.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/join.h"
#include "wire/address.h"
#include "wire/cluster_files.h"

namespace muster::cli {
namespace {

// For a private cluster, which must not outlive the command that made it.
void EndWithParent(bool wanted) {
  if (!wanted) return;
  const pid_t parent = ::getppid();
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  // It may have died before the kernel was told.
  if (::getppid() != parent) ::raise(SIGTERM);
}

}  // namespace

void AddCoordinator(CommandLine& line, const Hooks& hooks) {
  const auto args = std::make_shared<CoordinatorArgs>();
  const auto end_with_parent = std::make_shared<bool>(false);
  Command command = line.Add("coordinator", "Run a coordinator (on servers; see also up)");
  command.Value("--state", args->state, "State directory (or MUSTER_STATE)")
      .Value("--listen", args->listen,
             "HOST:PORT of gRPC; port 0 = any free one; beyond loopback see tls")
      .Value("--http-port", args->http_port, "Of /metrics and /healthz; 0 = any free one")
      .Value("--store-max-gib", args->store_max_gib,
             "Most data in the store; 0 = 80 % of the disk that is free");
  command.Flag("--end-with-parent", *end_with_parent, "").Hidden();
  command.Example("muster coordinator --state /var/lib/muster")
      .Runs([args, end_with_parent, &hooks] {
        EndWithParent(*end_with_parent);
        args->state = wire::FilesOf(args->state).state;
        return hooks.run_coordinator(*args);
      });
}

void AddWorker(CommandLine& line, const Hooks& hooks) {
  const auto args = std::make_shared<WorkerArgs>();
  const auto end_with_parent = std::make_shared<bool>(false);
  const auto join = std::make_shared<std::string>();
  const auto json = std::make_shared<bool>(false);
  Command command = line.Add("worker", "Run a worker agent (on servers; see also up)");
  command.Value("ACTION", *join, "join: become a worker of a coordinator on another machine")
      .OneOf({"join"});
  command.Value("--state", args->state, "State directory (or MUSTER_STATE)")
      .Value("--number", args->number, "Of this agent on its host, from 0")
      .Value("--slots", args->slots, "Ranks it holds at once")
      .Between(1, 1024)
      .Value("--cores", args->cores, "Its cores, divided over the slots; 0 = all")
      .Value("--memory-mib", args->memory_mib, "Its memory, divided over the slots; 0 = all")
      .Value("--data-cache-gib", args->data_cache_gib,
             "Most data of the cluster's store it keeps that no job uses")
      .Value("--leave-seconds", args->leave_seconds,
             "When it is asked to end: the most it waits for its ranks' checkpoints")
      .Value("--coordinator,--address", args->address,
             "HOST:PORT of the coordinator; otherwise what it joined, or the state directory's")
      .Value("--token,--token-file", args->token_file,
             "To join: what `muster join-token` has printed; otherwise the worker token")
      .Value("--interface", args->interface,
             "Of the ranks' own traffic between hosts; otherwise the way to the coordinator")
      .Value("--http-listen", args->http_listen,
             "HOST:PORT of /metrics and /healthz; none otherwise; port 0 = any free one");
  command.Flag("--json", *json, "With join: print worker, cluster_id as one object");
  command.Value("--rank-executable", args->rank_executable, "").Hidden();
  command.Flag("--end-with-parent", *end_with_parent, "").Hidden();
  command.Example("muster worker join --coordinator node-1:7420 --token join.token");
  command.Example("muster worker --number 1 --slots 2");
  command.Runs([args, end_with_parent, join, json, &hooks] {
    if (*join == "join") {
      return Report(
          JoinCluster({args->state, args->number, args->address, args->token_file, *json}));
    }
    if (!join->empty()) {
      return Report(InvalidArgument("worker: no action '" + *join + "'; there is join"));
    }
    EndWithParent(*end_with_parent);
    if (!args->address.empty()) {
      if (const auto address = wire::ParseAddress(args->address); !address.ok()) {
        return Report(address.status());
      }
    }
    if (!args->http_listen.empty()) {
      if (const auto address = wire::ParseAddress(args->http_listen, 0); !address.ok()) {
        return Report(address.status());
      }
    }
    const wire::ClusterFiles files = wire::FilesOf(args->state);
    args->state = files.state;
    args->token_file = args->token_file.empty()
                           ? files.worker_token()
                           : std::filesystem::absolute(args->token_file).string();
    return hooks.run_worker(*args);
  });
}

void AddRank(CommandLine& line, const Hooks& hooks) {
  const auto assignment = std::make_shared<std::string>();
  Command command = line.Add("rank", "");
  command.Value("ASSIGNMENT", *assignment, "File that an agent has written").Required();
  command.Runs([assignment, &hooks] { return hooks.run_rank(*assignment); });
}

}  // namespace muster::cli
