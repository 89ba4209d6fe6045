// An agent as a process of its own: agent_program STATE RANK_EXECUTABLE [SLOTS [ORPHAN_MS
// [LEAVE_MS]]]. Ends on SIGTERM.
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "worker/agent/agent.h"

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  // Before any thread is made, so that all of them leave the signal to the descriptor.
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  const int stop = ::signalfd(-1, &signals, SFD_CLOEXEC);
  muster::agent::AgentOptions options;
  options.files = muster::wire::FilesOf(argv[1]);
  options.token = "token";
  options.leave = std::chrono::milliseconds(500);
  options.version = "test";
  options.rank_executable = argv[2];
  options.rank_arguments = {};
  options.slots = argc > 3 ? static_cast<std::uint32_t>(std::atoi(argv[3])) : 2;
  if (argc > 4) options.orphan_timeout = std::chrono::milliseconds(std::atoi(argv[4]));
  if (argc > 5) options.leave = std::chrono::milliseconds(std::atoi(argv[5]));
  options.report_interval = std::chrono::milliseconds(100);
  const muster::Status status = muster::agent::RunAgent(options, stop);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
