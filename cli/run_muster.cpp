#include <exception>
#include <iostream>

#include "cli/commands.h"
#include "cli/exit_code.h"

namespace muster::cli {

void AddClusterOptions(Command& command, ClusterOptions& options) {
  command
      .Value("--address", options.address,
             "HOST:PORT of the cluster; otherwise MUSTER_ADDRESS, or what the state directory says")
      .Value("--token-file", options.token_file, "File with your token (or MUSTER_TOKEN_FILE)")
      .Value("--state", options.state, "State directory of a local cluster (or MUSTER_STATE)");
}

int RunMuster(int argc, const char* const* argv, const Hooks& hooks) {
  try {
    CommandLine line("Muster trains models on a cluster: one job file in, one model out.");
    AddUp(line);
    AddDown(line);
    AddRun(line, hooks);
    AddSubmit(line, hooks);
    AddPs(line);
    AddShow(line);
    AddLogs(line);
    AddMetrics(line);
    AddWait(line);
    AddCancel(line);
    AddResume(line);
    AddPull(line);
    AddPut(line);
    AddData(line);
    AddNodes(line);
    AddSchema(line);
    AddBench(line, hooks);
    AddCoordinator(line, hooks);
    AddWorker(line, hooks);
    AddRank(line, hooks);
    AddVersion(line);
    return line.Run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "muster: internal error: " << error.what() << std::endl;
    return kExitInfrastructure;
  }
}

}  // namespace muster::cli
