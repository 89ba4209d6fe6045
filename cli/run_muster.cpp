#include <fcntl.h>
#include <unistd.h>

#include <exception>
#include <iostream>

#include "base/version.h"
#include "cli/commands.h"
#include "cli/exit_code.h"

namespace muster::cli {

void AddClusterOptions(Command& command, ClusterOptions& options) {
  command
      .Value("--address", options.address,
             "HOST:PORT of the cluster; otherwise MUSTER_ADDRESS, or what the state directory says")
      .Value("--token-file", options.token_file, "File with your token (or MUSTER_TOKEN_FILE)")
      .Value("--ca", options.ca_file,
             "Certificate of the cluster's authority, beyond this machine (or MUSTER_CA_FILE)")
      .Value("--state", options.state, "State directory of a local cluster (or MUSTER_STATE)");
}

namespace {

// A standard stream that was closed would be the next file that is opened: a socket, a lock. What
// is written to it must fail instead.
void KeepStandardStreams() {
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
    if (::fcntl(stream, F_GETFD) < 0) static_cast<void>(::open("/dev/null", O_RDONLY));
  }
}

}  // namespace

int RunMuster(int argc, const char* const* argv, const Hooks& hooks) {
  try {
    KeepStandardStreams();
    CommandLine line("Muster trains models on a cluster: one job file in, one model out.");
    AddUp(line);
    AddDown(line);
    AddRun(line, hooks);
    AddSubmit(line, hooks);
    AddPs(line);
    AddShow(line);
    AddLogs(line);
    AddMetrics(line);
    AddWatch(line);
    AddWait(line);
    AddCancel(line);
    AddResume(line);
    AddPull(line);
    AddPut(line);
    AddData(line);
    AddNodes(line);
    AddDrain(line);
    AddUser(line);
    AddSchema(line);
    AddEnv(line, hooks);
    AddBench(line, hooks);
    AddDoctor(line, hooks);
    AddTls(line);
    AddJoinToken(line);
    AddCoordinator(line, hooks);
    AddWorker(line, hooks);
    AddRank(line, hooks);
    AddVersion(line);
    AddHelp(line);
    AddCompletion(line);
    line.Version(std::string("muster ") + kVersion);
    const int code = line.Run(argc, argv);
    // What could not be written must not look as if it had been.
    std::cout.flush();
    if (std::cout.good() || code == kExitInterrupted) return code;
    std::cerr << "muster: the output could not be written: is its disk full, or is it closed?"
              << std::endl;
    return code == kExitOk ? static_cast<int>(kExitInfrastructure) : code;
  } catch (const std::exception& error) {
    std::cerr << "muster: internal error: " << error.what() << std::endl;
    return kExitInfrastructure;
  }
}

}  // namespace muster::cli
